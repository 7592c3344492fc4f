"""Stems as one archive, made while it is sent: nothing of it lies on the disk."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

BLOCK = 1 << 20


class _Sink(io.RawIOBase):
    """Takes what is written, until somebody takes it away. It cannot be sought."""

    def __init__(self) -> None:
        self._data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        given = bytes(data)  # type: ignore[call-overload]
        self._data += given
        return len(given)

    def taken(self) -> bytes:
        found = bytes(self._data)
        self._data.clear()
        return found


def zipped(files: Sequence[tuple[str, Path]]) -> Iterator[bytes]:
    """Yield an archive of files by their names in it, not compressed; ZIP64 where it is needed."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, path in files:
            info = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
            with path.open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
                while data := source.read(BLOCK):
                    target.write(data)
                    yield sink.taken()
    yield sink.taken()
