"""Files that a page hands over, in slices: flat in memory, and a page that was closed goes on.

They lie in folders of sep's own, below names of the page's own choice that were looked at.
"""

from __future__ import annotations

import re
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from sep_launcher.planning import names
from sep_launcher.ui.tasks import name
from sep_protocol.errors import PathError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

SPARE_BYTES = 512 << 20  # that must stay free beside what comes
PART = ".part"
MOST_PARTS = 32  # folders in one another


class FullError(PathError):
    """There is no room for a file."""


class TooMuchError(UsageError):
    """More of a file came than was promised."""


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
    told: str  # its path as the page says it
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
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def empty(self) -> None:
        """Take away what an earlier server left."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.every.clear()

    def begin(self, batch: str, path: str, size: int) -> Upload:
        """Begin a file of a batch, or go on with it.

        Raises UsageError for a path or a batch that is none, FullError where the disk is too small.
        """
        if not re.fullmatch(r"[\w-]{8,40}", batch) or size < 0:
            raise UsageError("that is no upload")
        below = _checked(path)
        target = self.root / batch / below
        with self._lock:
            for each in self.every.values():
                if (each.path, each.told, each.size) == (target, path, size):
                    return each
                if each.path == target:
                    raise UsageError(f"two files would be called {below}")
            return self._begin(Upload(id=name(), batch=batch, path=target, told=path, size=size))

    def _begin(self, upload: Upload) -> Upload:
        size, target = upload.size, upload.path
        self.root.mkdir(parents=True, exist_ok=True)
        coming = sum(each.size - each.here for each in self.every.values())
        free = shutil.disk_usage(self.root).free - coming
        if size + SPARE_BYTES > free:
            need, here = f"{size / 1e9:.1f} GB", f"{max(0, free) / 1e9:.1f} GB"
            raise FullError(
                f"{target.name} has {need}, and {here} are free",
                hint="type its path instead: then no copy is made",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        upload.part.unlink(missing_ok=True)
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
                        raise TooMuchError("more came than was promised")
                    await run_in_threadpool(file.write, data)
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
        with self._lock:
            self.every.pop(upload.id, None)
        upload.part.unlink(missing_ok=True)
        upload.path.unlink(missing_ok=True)

    def folder(self, batch: str) -> Path:
        """Return the folder of a batch that is whole; raise UsageError where it is not."""
        mine = self.of(batch)
        if not mine or not all(each.done for each in mine):
            raise UsageError("not all of the files are here yet")
        return self.root / batch

    def of(self, batch: str) -> list[Upload]:
        """Return the files of a batch."""
        with self._lock:
            return [each for each in self.every.values() if each.batch == batch]

    def drop_batch(self, batch: str) -> None:
        """Delete a batch."""
        for each in self.of(batch):
            with self._lock:
                self.every.pop(each.id, None)
        shutil.rmtree(self.root / batch, ignore_errors=True)


def _checked(path: str) -> PurePosixPath:
    """Return a path below a folder, of names that any system takes; raise UsageError for none."""
    parts = path.split("/")
    fault = UsageError(f"{path[:80]!r} is no name of a file")
    if len(parts) > MOST_PARTS or any(part in ("", ".", "..") for part in parts):
        raise fault
    found = [names.portable(part) for part in parts]
    try:
        size = max(len(part.encode()) for part in found)
    except UnicodeEncodeError:
        raise fault from None
    if not all(found) or size > names.MOST - len(PART):
        raise fault
    return PurePosixPath(*found)
