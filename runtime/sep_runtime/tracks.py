"""A track's stems appear on the disk together or not at all, whatever ends the process."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from sep_protocol import REPORT
from sep_protocol.errors import TrackError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[bytes]) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


PREFIX = ".sep-"
LOCK = "lock"  # held as long as the job lives; the kernel lets go of it after any death
NEW = "new"
OLD = "old"
PATTERN = r"\.sep-\w+-\d+"
ATTEMPTS = 50


class Workspace:
    """A hidden folder `.sep-<job>-<index>` beside the track's own, with the stems in the making.

    `new` becomes the track's folder by one rename. Where that exists it first moves to `old`, and
    what the user keeps in it moves back; `sweep` finishes either half if the process dies between.
    """

    def __init__(self, out: Path, job: str, index: int) -> None:
        self.out = out
        self.root = out.parent / f"{PREFIX}{job}-{index}"
        self.new = self.root / NEW
        self._made = not out.parent.exists()
        try:
            self._lock = _locked(self.root)
            self.new.mkdir()
            # What a killed job was replacing can be told apart by this name.
            (self.root / "out").write_text(out.name, encoding="utf-8")
        except OSError as fault:
            raise TrackError(f"{out.parent} cannot be written: {fault.strerror}") from fault

    def commit(self, report: Mapping[str, object], stems: Iterable[str]) -> None:
        """Write the report last, then give the track its name; `stems` are the new file names."""
        text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
        with (self.new / REPORT).open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        _sync(self.new)
        if self.out.exists():
            replaced = _own(self.out) | set(stems) | {REPORT}
            (self.root / "replaced").write_text(json.dumps(sorted(replaced)), encoding="utf-8")
            self.out.rename(self.root / OLD)
        self.new.rename(self.out)
        _sync(self.out.parent)
        _settle(self.root)

    def discard(self) -> None:
        """Leave nothing of the track but what was committed."""
        _settle(self.root)
        self._lock.close()
        if self.root.exists():
            _settle(self.root)  # Windows removes no file that is open
        if self._made:
            with contextlib.suppress(OSError):
                self.out.parent.rmdir()  # it was made for this track, and holds nothing


def _locked(root: Path) -> IO[bytes]:
    """Make the folder and hold its lock; again, if a sweep took it away between the two."""
    for _ in range(ATTEMPTS):
        root.mkdir(parents=True, exist_ok=True)
        path = root / LOCK
        try:
            file = path.open("wb")
        except FileNotFoundError:
            continue
        try:
            _lock(file)
            if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                return file
        except (BlockingIOError, PermissionError):
            time.sleep(0.01)
        except OSError:  # a file system without locks: nobody shall take it for dead
            path.unlink()
            return file
        file.close()
    raise OSError(errno.EAGAIN, "another sep clears it away")


def sweep(parent: Path) -> None:
    """Clear away what jobs that are no more left in this folder; finish what they had whole."""
    for root in parent.glob(f"{PREFIX}*"):
        if not re.fullmatch(PATTERN, root.name):
            continue
        with contextlib.suppress(OSError):
            root.rmdir()  # its job died before it had a lock; one with anything in it stays
            continue
        try:
            with (root / LOCK).open("rb+") as file:
                _lock(file)
                if os.name == "nt":
                    file.close()
                _settle(root)
        except OSError:
            continue  # alive, or not ours to touch


def _settle(root: Path) -> None:
    """Bring a workspace to its end: the old track back, or the user's own files into the new."""
    old = root / OLD
    if old.is_dir():
        out = root.parent / (root / "out").read_text(encoding="utf-8")
        if not out.exists():
            old.rename(out)
        else:
            replaced = set(json.loads((root / "replaced").read_text(encoding="utf-8")))
            for kept in old.iterdir():
                if kept.name not in replaced and not (out / kept.name).exists():
                    kept.rename(out / kept.name)
    # What says how to settle goes after what is to be settled, and the lock, by which a sweep
    # knows its work, goes last: this may be interrupted and begun again at any point.
    for folder in (old, root / NEW):
        shutil.rmtree(folder, ignore_errors=True)
    for name in ("out", "replaced"):
        (root / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # Windows keeps an open file; `discard` comes again
        (root / LOCK).unlink(missing_ok=True)
        root.rmdir()


def _own(folder: Path) -> set[str]:
    """Return the names of the stems that an earlier run reported in this folder."""
    try:
        stems = json.loads((folder / REPORT).read_text(encoding="utf-8"))["stems"]
        return {Path(str(stem["file"])).name for stem in stems.values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()


def _sync(folder: Path) -> None:
    """Make renames in the folder last; Windows has no such call and needs none."""
    if os.name != "nt":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
