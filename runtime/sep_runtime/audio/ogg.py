"""The links of an ogg file: songs behind each other, as radio streams and `cat` leave them.

By RFC 3533: a page has 27 bytes and a table of its segments' sizes; a page with the flag BOS begins
a stream, and one that comes behind other pages begins a new link of the chain.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

    from _typeshed import WriteableBuffer

HEAD = 27
BEGINS, ENDS = 2, 4  # flags of a page


class Chain(NamedTuple):
    """Where the links begin, where the last one ends, and what is wrong with the end."""

    starts: tuple[int, ...]
    end: int
    rest: int  # bytes behind it
    is_whole: bool  # whether it has its end mark


def chain(path: Path) -> Chain:
    """Return the links of an ogg file; raises OSError."""
    starts: list[int] = []
    at = flags = 0
    beginning = False
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        while (head := _head(file, at)) is not None:
            flags = head[5]
            if flags & BEGINS and not beginning:
                starts.append(at)
            beginning = bool(flags & BEGINS)
            at += HEAD + head[26] + sum(head[HEAD:])
    end = min(at, size)
    return Chain(tuple(starts) or (0,), end, size - end, bool(flags & ENDS) and at <= size)


def _head(file: IO[bytes], at: int) -> bytes | None:
    """Return a page's head with its table, None where no whole one begins."""
    file.seek(at)
    head = file.read(HEAD)
    if len(head) < HEAD or not head.startswith(b"OggS"):
        return None
    table = file.read(head[26])
    return head + table if len(table) == head[26] else None


class Part(io.RawIOBase):
    """A part of a file as a file of its own, for reading."""

    def __init__(self, path: Path, start: int, end: int) -> None:
        self._file = path.open("rb")
        self._start, self._size = start, end - start
        self._at = 0

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read what fits, up to the part's end."""
        self._file.seek(self._start + self._at)
        room = memoryview(buffer).cast("B")
        data = self._file.read(min(len(room), max(self._size - self._at, 0)))
        room[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go somewhere in the part."""
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        """Return where that is."""
        return self._at

    def close(self) -> None:
        """Close the file behind it."""
        self._file.close()
        super().close()
