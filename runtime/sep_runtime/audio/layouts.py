"""Where a caf or mov file describes its channels.

FFmpeg's reader of these descriptions writes beyond its memory for many of them, so it never sees
any: the name of the part is another one for it. QuickTime File Format, `chan`; Core Audio Format.
"""

from __future__ import annotations

import io
import os
import struct
from typing import IO, TYPE_CHECKING

from sep_runtime.audio.chunks import offsets

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import WriteableBuffer

NAME = b"chan"
OTHER = b"free"
MOOV_MOST = 64 << 20  # bytes of a table of contents that is looked through


def described(path: Path) -> tuple[int, ...]:
    """Return where the file names a description of its channels; raises OSError."""
    with path.open("rb") as file:
        head = file.read(12)
        if head.startswith(b"caff"):
            return offsets(file, NAME)
        if head[4:8] not in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
            return ()
        return tuple(_in_moov(file))


def _in_moov(file: IO[bytes]) -> list[int]:
    at, size = 0, file.seek(0, os.SEEK_END)
    found = []
    while at + 8 <= size:
        file.seek(at)
        length, name = struct.unpack(">I4s", file.read(8))
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8).ljust(8, b"\0"))
        if name == b"moov":
            file.seek(at)
            body = file.read(min(length or size, MOOV_MOST))
            place = body.find(NAME)
            while place >= 0:
                found.append(at + place)
                place = body.find(NAME, place + 1)
        if length < 8:  # noqa: PLR2004 (0: up to the end)
            break
        at += length
    return found


class Masked(io.RawIOBase):
    """A file in which some names are others, for reading."""

    def __init__(self, path: Path, places: tuple[int, ...]) -> None:
        self._file = path.open("rb")
        self._places = places

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read what fits."""
        room = memoryview(buffer).cast("B")
        at = self._file.tell()
        data = bytearray(self._file.read(len(room)))
        for place in self._places:
            for i, byte in enumerate(OTHER, place - at):
                if 0 <= i < len(data):
                    data[i] = byte
        room[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go somewhere."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return where that is."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file behind it."""
        self._file.close()
        super().close()
