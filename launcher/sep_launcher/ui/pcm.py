"""Samples of WAV files, as they lie there: headers, ranges of frames, shapes. No decoding.

Microsoft's "Multimedia Programming Interface and Data Specifications 1.0" and EBU Tech 3306
(RF64): `fmt ` says what a frame is, `data` where the frames are, `ds64` how many bytes where 32
bits do not hold it.
"""

from __future__ import annotations

import math
import struct
from array import array
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Literal

from sep_protocol.errors import AudioError

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence
    from pathlib import Path

Kind = Literal["int16", "int24", "float32"]
KINDS: dict[tuple[int, int], Kind] = {(1, 16): "int16", (1, 24): "int24", (3, 32): "float32"}
EXTENSIBLE = 0xFFFE
UNKNOWN = 0xFFFFFFFF  # bytes: `ds64` has them
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Wav:
    """A file whose frames can be read as they are."""

    path: Path
    kind: Kind
    channels: int
    rate: int
    begin: int  # byte of the first frame
    frames: int

    @property
    def width(self) -> int:
        """Bytes of a frame."""
        return self.channels * {"int16": 2, "int24": 3, "float32": 4}[self.kind]


def wav(path: Path) -> Wav:
    """Read a header. Raises AudioError for what is no such file, OSError where none can be."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        try:
            return _parsed(path, file, size)
        except struct.error as fault:
            raise AudioError(f"{path.name} ends within its header") from fault


def _parsed(path: Path, file: IO[bytes], size: int) -> Wav:
    riff, _, form = struct.unpack("<4sI4s", file.read(12))
    if riff not in (b"RIFF", b"RF64") or form != b"WAVE":
        raise AudioError(f"{path.name} is no WAV file")
    found: tuple[Kind, int, int] | None = None
    long = 0
    while file.tell() + 8 <= size:
        name, length = struct.unpack("<4sI", file.read(8))
        begin = file.tell()
        if name == b"ds64":
            long = struct.unpack("<QQ", file.read(16))[1]
        elif name == b"fmt ":
            found = _format(path, file.read(min(length, 40)))
        elif name == b"data" and found:
            kind, channels, rate = found
            length = long if length == UNKNOWN and long else length
            whole = Wav(path=path, kind=kind, channels=channels, rate=rate, begin=begin, frames=0)
            return replace(whole, frames=min(length, size - begin) // whole.width)
        file.seek(begin + length + length % 2)
    raise AudioError(f"{path.name} has no samples")


def _format(path: Path, data: bytes) -> tuple[Kind, int, int]:
    tag, channels, rate, _, width, bits = struct.unpack("<HHIIHH", data[:16])
    if tag == EXTENSIBLE:
        (tag,) = struct.unpack("<H", data[24:26])
    kind = KINDS.get((tag, bits))
    if kind is None or not channels or not rate or width != channels * bits // 8:
        raise AudioError(f"{path.name} has samples of another kind")
    return kind, channels, rate


def frames(wavs: Sequence[Wav], start: int, count: int) -> Iterator[bytes]:
    """Yield a range of frames of all files, one after the other, each to its own end at most."""
    for each in wavs:
        first = min(start, each.frames)
        left = min(count, each.frames - first) * each.width
        with each.path.open("rb") as file:
            file.seek(each.begin + first * each.width)
            while left > 0 and (data := file.read(min(BLOCK, left))):
                left -= len(data)
                yield data


def peaks(found: Wav, per_second: int, over: threading.Event | None = None) -> bytes:
    """Return the least and greatest sample of every stretch by turns, as signed bytes; 127: full.

    Stretch k begins at frame floor(k * rate / per_second), as the runtime's do. Of integers the
    highest byte counts, so that no loop in Python sees a sample. It ends early when `over` is set.
    """
    made = array("b")
    begin = stretch = 0
    with found.path.open("rb") as file:
        file.seek(found.begin)
        while begin < found.frames and not (over and over.is_set()):
            stretch += 1
            end = min(found.frames, stretch * found.rate // per_second)
            data = file.read((end - begin) * found.width)
            if len(data) < (end - begin) * found.width:
                break
            made.extend(_ends(data, found.kind))
            begin = end
    return made.tobytes()


def _ends(data: bytes, kind: Kind) -> tuple[int, int]:
    if kind == "float32":
        samples = array("f", data)
        low, high = (max(-127.0, min(127.0, each * 127)) for each in (min(samples), max(samples)))
        return math.floor(low), math.ceil(high)
    width = 2 if kind == "int16" else 3
    tops = array("b", data[width - 1 :: width])
    return max(-127, min(tops)), min(127, max(tops) + 1) if max(tops) >= 0 else max(tops)
