"""Files that a page hands over, in slices: flat in memory, and a page that was closed goes on.

They lie in folders of sep's own, below names of the page's own choice that were looked at.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from sep_launcher.planning import names
from sep_launcher.ui.tasks import name
from sep_protocol.errors import PathError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

SPARE_BYTES = 512 << 20  # that must stay free beside what comes
PART = ".part"
MOST_PARTS = 32  # folders in one another


class OffsetError(PathError):
    """A slice does not begin where the last one ended: `size` bytes are here."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the next byte is number {size}")
        self.size = size


@dataclass(slots=True, kw_only=True)
class Upload:
    """One file that comes."""

    id: str
    batch: str
    path: Path
    size: int
    done: bool = False
    busy: bool = False

    @property
    def here(self) -> int:
        """How many bytes of it are here."""
        if self.done:
            return self.size
        try:
            return self.part.stat().st_size
        except OSError:
            return 0

    @property
    def part(self) -> Path:
        """The file while it comes."""
        return self.path.with_name(self.path.name + PART)


@dataclass(slots=True)
class Uploads:
    """All of them, below a folder that is emptied at the start and at the end."""

    root: Path
    every: dict[str, Upload] = field(default_factory=dict)

    def empty(self) -> None:
        """Take away what an earlier server left."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.every.clear()

    def begin(self, batch: str, path: str, size: int) -> Upload:
        """Begin a file of a batch, or go on with it.

        Raises UsageError for a path or a batch that is none, PathError where the disk is too small.
        """
        if not re.fullmatch(r"[\w-]{8,40}", batch) or size < 0:
            raise UsageError("that is no upload")
        below = _checked(path)
        target = self.root / batch / below
        for each in self.every.values():
            if (each.batch, each.path, each.size) == (batch, target, size):
                return each
        self.root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.root).free
        if size + SPARE_BYTES > free:
            need, here = f"{size / 1e9:.1f} GB", f"{free / 1e9:.1f} GB"
            raise PathError(
                f"{target.name} has {need}, and {here} are free",
                hint="type its path instead: then no copy is made",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        upload = Upload(id=name(), batch=batch, path=target, size=size)
        self.every[upload.id] = upload
        if not size:
            self._end(upload)
        return upload

    async def take(self, upload: Upload, offset: int, slices: AsyncIterable[bytes]) -> int:
        """Append what comes; return how many bytes are here.

        Raises OffsetError for another offset than the last end, UsageError for more than promised.
        """
        if upload.busy or upload.done or offset != upload.here:
            raise OffsetError(upload.here)
        upload.busy = True
        try:
            with upload.part.open("ab") as file:
                async for data in slices:
                    if file.tell() + len(data) > upload.size:
                        raise UsageError("more came than was promised")
                    file.write(data)
                file.flush()
                os.fsync(file.fileno())
        finally:
            upload.busy = False
        if upload.here == upload.size:
            self._end(upload)
        return upload.here

    def _end(self, upload: Upload) -> None:
        if not upload.size:
            upload.part.touch()
        upload.part.replace(upload.path)
        upload.done = True

    def drop(self, upload: Upload) -> None:
        """Forget a file, and delete it."""
        self.every.pop(upload.id, None)
        upload.part.unlink(missing_ok=True)
        upload.path.unlink(missing_ok=True)

    def folder(self, batch: str) -> Path:
        """Return the folder of a batch that is whole; raise UsageError where it is not."""
        mine = [each for each in self.every.values() if each.batch == batch]
        if not mine or not all(each.done for each in mine):
            raise UsageError("not all of the files are here yet")
        return self.root / batch

    def drop_batch(self, batch: str) -> None:
        """Delete a batch."""
        if not batch:
            return
        for each in [each for each in self.every.values() if each.batch == batch]:
            self.every.pop(each.id)
        shutil.rmtree(self.root / batch, ignore_errors=True)


def _checked(path: str) -> PurePosixPath:
    """Return a path below a folder, of names that any system takes; raise UsageError for none."""
    parts = path.split("/")
    if len(parts) > MOST_PARTS or any(part in ("", ".", "..") for part in parts):
        raise UsageError(f"{path[:80]!r} is no name of a file")
    found = [names.portable(part) for part in parts]
    if not all(found) or any(len(part.encode()) > names.MOST - len(PART) for part in found):
        raise UsageError(f"{path[:80]!r} is no name of a file")
    return PurePosixPath(*found)
