"""The chunks of wav, aiff, caf and w64: what a file announces, and what a stem takes over.

Wav by EBU Tech 3285 (`bext`), 3306 (RF64) and the iXML specification; the others by their own.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

LIMIT = 1 << 32  # of a wav file without RF64 headers
UNKNOWN = LIMIT - (1 << 12)  # what a stream's writer leaves: 0, -1 or the largest number
UNFINISHED = 0x7F00_0000  # sox and others leave such a number
SENSELESS = 1 << 62  # bytes
CHUNKS = 10_000  # no file has more
MOST = 1 << 20  # bytes of a chunk that is taken over
REST = 1 << 12  # bytes behind the samples that nobody misses
MAGICS = (b"RIFF", b"RF64", b"BW64", b"FORM", b"caff", b"riff")  # another file behind it
TAGS = (b"ID3", b"TAG", b"APE")  # what some programs put there, though no chunk
# Where the mix was: time reference, scene and take, markers with their names, loops.
CARRIED = (b"bext", b"iXML", b"cue ", b"smpl", b"LIST")
LOUDNESS = 412  # offset in `bext`: five values of the mix, not of a stem
NOT_SET = struct.pack("<5h", *[0x7FFF] * 5)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a format lays out its chunks."""

    first: int  # where they begin
    name: int  # bytes of a chunk's name
    samples: bytes  # the chunk of samples
    length: str  # how a chunk's length is written
    counts_itself: bool = False  # whether the length includes name and length
    align: int = 1
    unknown: int = UNKNOWN
    unfinished: int = UNFINISHED  # what other writers of streams announce, if less is there


WAV = Layout(12, 4, b"data", "<I", align=2)
AIFF = Layout(12, 4, b"SSND", ">I", align=2)
CAF = Layout(8, 4, b"data", ">q", unknown=SENSELESS, unfinished=SENSELESS)
W64 = Layout(
    40, 16, b"data", "<q", counts_itself=True, align=8, unknown=SENSELESS, unfinished=SENSELESS
)
LAYOUTS = (
    ((b"RIFF", b"RF64", b"BW64"), (b"WAVE",), WAV),
    ((b"FORM",), (b"AIFF", b"AIFC"), AIFF),
    ((b"caff",), (), CAF),
    ((b"riff",), (), W64),
)


class Chunk(NamedTuple):
    """A chunk; `at` is where its content begins."""

    name: bytes
    at: int
    length: int


class Announced(NamedTuple):
    """What a file of chunks says about its samples."""

    at: int
    length: int  # bytes; 0: not known
    size: int  # bytes of the file
    rest: int = 0  # bytes behind the samples that are no chunk, or are samples again
    unfinished: int = 0  # bytes that a header counts which may never have been finished


def layout_of(head: bytes) -> Layout | None:
    """Return how a file that begins with these 12 bytes lays out its chunks, None for others."""
    for magics, kinds, layout in LAYOUTS:
        if head[:4] in magics and (not kinds or head[8:12] in kinds):
            return layout
    return None


def announced(file: IO[bytes]) -> Announced | None:
    """Return what a file of chunks says about its samples, None for any other file."""
    head = file.read(12)
    size = file.seek(0, os.SEEK_END)
    if head.startswith(b".snd"):  # au has one chunk, and no more
        at, length = struct.unpack(">II", head[4:].ljust(8, b"\0"))
        return _of_au(at, length, size)
    layout = layout_of(head)
    if layout is None:
        return None
    large = 0
    for chunk in _walk(file, layout, size, layout.first):
        if chunk.name == b"ds64":
            file.seek(chunk.at + 8)
            (large,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
        elif chunk.name.startswith(layout.samples):
            known = 0 < chunk.length < layout.unknown
            length = chunk.length if known else large if large < SENSELESS else 0
            if known and length >= layout.unfinished and chunk.at + length > size:
                return Announced(chunk.at, 0, size, unfinished=length)
            rest = _rest(file, layout, size, chunk.at + length) if length else 0
            return Announced(chunk.at, length, size, rest)
    return Announced(0, 0, size)


def _of_au(at: int, length: int, size: int) -> Announced:
    """Return the same for au, which has samples to its end."""
    if not 0 < length < UNKNOWN:
        return Announced(at, 0, size)
    rest = size - at - length
    return Announced(at, length, size, rest if rest > REST else 0)


def _rest(file: IO[bytes], layout: Layout, size: int, at: int) -> int:
    """Return how many bytes behind the samples are no chunks, or samples again."""
    if layout.unknown != UNKNOWN:
        return 0  # libsndfile reads caf and w64 to their end
    at += -(at - layout.first) % layout.align
    for chunk in _walk(file, layout, size, at):
        if chunk.name.startswith(TAGS):
            return 0
        again = chunk.name.startswith(layout.samples) or chunk.name[:4] in MAGICS
        if again or not _is_name(chunk.name):
            rest = size - chunk.at + layout.name + struct.calcsize(layout.length)
            return rest if rest > REST else 0
    return 0


def offsets(file: IO[bytes], name: bytes) -> tuple[int, ...]:
    """Return where the names of such chunks stand in a caf file."""
    head = CAF.name + struct.calcsize(CAF.length)
    found = _walk(file, CAF, file.seek(0, os.SEEK_END), CAF.first)
    return tuple(each.at - head for each in found if each.name == name)


def carried(path: Path) -> tuple[tuple[bytes, bytes], ...]:
    """Return names and contents of the chunks of a wav file that its stems shall have, too.

    None where the file is no wav or cannot be read, which is no error.
    """
    found = []
    try:
        with path.open("rb") as file:
            if layout_of(file.read(12)) is not WAV:
                return ()
            for chunk in _walk(file, WAV, file.seek(0, os.SEEK_END), WAV.first):
                if chunk.name not in CARRIED or not 0 < chunk.length <= MOST:
                    continue
                file.seek(chunk.at)
                body = file.read(chunk.length)
                if chunk.name == b"LIST" and not body.startswith(b"adtl"):
                    continue  # INFO: libsndfile writes the tags
                found.append((chunk.name, _of_a_stem(body) if chunk.name == b"bext" else body))
    except OSError:
        return ()
    return tuple(found)


def finish(path: Path, chunks: Iterable[tuple[bytes, bytes]]) -> None:
    """Add chunks to a finished wav file; headers of RF64 become plain ones below 4 GiB.

    Players that know nothing of RF64 take it then.
    """
    with path.open("r+b") as file:
        file.write(bytes(file.seek(0, os.SEEK_END) % 2))
        for name, body in chunks:
            file.write(name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2))
        size = file.tell()
        file.seek(0)
        found = announced(file)
        file.seek(0)
        large = file.read(4) == b"RF64"
        if large and found and size < LIMIT:
            _patch(file, 0, b"RIFF")
            _patch(file, 12, b"JUNK")
            _patch(file, found.at - 4, struct.pack("<I", found.length))
        if large and size >= LIMIT:
            _patch(file, 20, struct.pack("<Q", size - 8))
        else:
            _patch(file, 4, struct.pack("<I", size - 8))


def _patch(file: IO[bytes], at: int, body: bytes) -> None:
    file.seek(at)
    file.write(body)


def _of_a_stem(bext: bytes) -> bytes:
    """Return the chunk without the mix's loudness."""
    end = LOUDNESS + len(NOT_SET)
    return bext[:LOUDNESS] + NOT_SET + bext[end:] if len(bext) >= end else bext


def _is_name(name: bytes) -> bool:
    """Say whether these bytes can be a chunk's name."""
    return all(32 <= byte < 127 for byte in name[:4])  # noqa: PLR2004 (what ASCII prints)


def _walk(file: IO[bytes], layout: Layout, size: int, at: int) -> Iterator[Chunk]:
    """Yield the chunks from a place on, up to one that has no end; no more than any file has."""
    head = layout.name + struct.calcsize(layout.length)
    for _ in range(CHUNKS):
        if at + head > size:
            return
        file.seek(at)
        name = file.read(layout.name)
        (length,) = struct.unpack(layout.length, file.read(head - layout.name))
        length -= head if layout.counts_itself else 0
        at += head
        yield Chunk(name, at, length)
        if length < 0:
            return
        at += -(-length // layout.align) * layout.align
