"""SHA-256 of files; of one that is needed soon it is found out while something else is done."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PIECE = 1 << 23  # bytes; between two of them a thread may wait long for the interpreter
POLL_SECONDS = 0.1  # how soon Ctrl-C is heard on Windows
_BEGUN: dict[Path, _Early] = {}


def of(path: Path) -> str:
    """Return the file's SHA-256 in hex; raise OSError where it cannot be read."""
    early = _BEGUN.pop(path, None)
    if early and (found := early.found()):
        return found
    with path.open("rb") as file:
        return _of(file)


def begin(path: Path) -> None:
    """Begin to read a file whose SHA-256 is asked for soon; what is wrong with it is told then."""
    _BEGUN[path] = _Early(path)


class _Early:
    """A digest in the making; it counts only if the file is the same and unchanged at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._facts: tuple[int, ...] = ()
        self._digest = ""
        self._thread = threading.Thread(target=self._work, name="digest", daemon=True)
        self._thread.start()

    def found(self) -> str:
        """Return the digest, nothing where it has to be made again."""
        while self._thread.is_alive():
            self._thread.join(POLL_SECONDS)
        try:
            same = self._facts == _facts(self._path.stat())
        except OSError:
            same = False
        return self._digest if same else ""

    def _work(self) -> None:
        try:
            if not stat.S_ISREG(self._path.stat().st_mode):  # a pipe would wait
                return
            with self._path.open("rb") as file:
                facts = _facts(os.fstat(file.fileno()))
                self._digest = _of(file)
                self._facts = facts
        except (OSError, ValueError):
            return


def _of(file: IO[bytes]) -> str:
    found, piece = hashlib.sha256(), memoryview(bytearray(PIECE))
    while count := file.readinto(piece):  # type: ignore[attr-defined]  # a binary file has it
        found.update(piece[:count])
    return found.hexdigest()


def _facts(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
