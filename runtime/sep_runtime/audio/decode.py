"""Audio files in: blocks of float32 [C, n] from whatever libsndfile or FFmpeg can read."""

from __future__ import annotations

import struct
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Protocol

import av
import numpy as np
import soundfile

from sep_protocol.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

BLOCK = 1 << 16  # frames read at once
RATES = range(4000, 768_001)  # Hz; a header that says otherwise is not believed

# What FFmpeg may open: containers of audio and video, no playlists, nothing over a network.
DEMUXERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,"
    "tak,tta,w64,wav,wv"
)
# The names that libsndfile writes, by FFmpeg's names.
TAGS = {
    "title": "title",
    "artist": "artist",
    "album": "album",
    "date": "date",
    "genre": "genre",
    "comment": "comment",
    "track": "tracknumber",
    "tracknumber": "tracknumber",
    "copyright": "copyright",
}


class Mix(Protocol):
    """An open audio file."""

    path: Path
    sample_rate: int  # Hz
    channels: int
    frames: int  # as the header says; 0: not known; for some formats an estimate
    is_float: bool

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield [C, n] from the start to the end, once; raise AudioError for what is damaged."""

    def close(self) -> None:
        """Close the file."""


@contextmanager
def open_mix(path: Path) -> Iterator[Mix]:
    """Open a file; raise AudioError, also while reading, for what is not whole finite audio."""
    mix = _open(path)
    try:
        if mix.sample_rate not in RATES:
            raise AudioError(f"{path.name} has an impossible sample rate, {mix.sample_rate} Hz")
        if mix.channels < 1:
            raise AudioError(f"{path.name} has no channels")
        yield mix
    finally:
        mix.close()


def _open(path: Path) -> Mix:
    try:
        with path.open("rb") as file:
            _check_whole(file, path)
    except IsADirectoryError as fault:
        raise AudioError(f"{path.name} is a folder") from fault
    except FileNotFoundError as fault:
        raise AudioError("there is no file {path}", path=str(path)) from fault
    except OSError as fault:
        raise AudioError(f"{path.name} cannot be read: {fault.strerror}") from fault
    try:
        return _SndfileMix(path)
    except (soundfile.LibsndfileError, OSError, TypeError, ValueError):
        pass
    try:
        return _AvMix(path)
    except (av.FFmpegError, OSError, ValueError) as fault:
        raise AudioError(f"{path.name} cannot be read as audio: {_reason(fault)}") from fault


def _reason(fault: BaseException) -> str:
    text = getattr(fault, "error_string", "") or getattr(fault, "strerror", "") or str(fault)
    return str(text).partition("\n")[0].rstrip(".").lower()


def _checked(blocks: Iterator[NDArray[np.float32]], path: Path) -> Iterator[NDArray[np.float32]]:
    """Pass blocks on; raise AudioError for none at all and for samples that are no numbers."""
    count = 0
    for block in blocks:
        if not np.isfinite(block).all():
            raise AudioError(f"{path.name} holds samples that are no numbers")
        count += block.shape[1]
        yield block
    if not count:
        raise AudioError(f"{path.name} holds no audio")


class _SndfileMix:
    def __init__(self, path: Path) -> None:
        self._file = soundfile.SoundFile(path)
        self.path = path
        self.sample_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.frames: int = self._file.frames
        self.is_float = self._file.subtype in ("FLOAT", "DOUBLE")
        # A lossy stream's length is the decoder's to say, not the header's.
        self._counts = self._file.format not in ("MP3", "OGG")

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        return _checked(self._read(), self.path)

    def _read(self) -> Iterator[NDArray[np.float32]]:
        read = 0
        while True:
            try:
                block = self._file.read(BLOCK, dtype="float32", always_2d=True).T
            except (soundfile.LibsndfileError, OSError) as fault:
                raise AudioError(f"{self.path.name} is damaged: {_reason(fault)}") from fault
            if not block.shape[1]:
                break
            read += block.shape[1]
            yield np.ascontiguousarray(block)
        if self._counts and read < self.frames:
            raise AudioError(
                f"{self.path.name} is cut off: {read} of {self.frames} frames are there"
            )

    def close(self) -> None:
        self._file.close()


class _AvMix:
    """What libsndfile cannot read, by FFmpeg: m4a, aac, wma, the sound of a video."""

    is_float = False

    def __init__(self, path: Path) -> None:
        self._container = _container(path)
        if not self._container.streams.audio:
            self._container.close()
            raise ValueError("there is no sound in it")
        self._stream = self._container.streams.audio[0]
        codec: av.AudioCodecContext | None = self._stream.codec_context
        if codec is None:
            self._container.close()
            raise ValueError("its codec is not known")
        self.path = path
        self.sample_rate = int(codec.sample_rate or 0)
        self.channels = int(codec.layout.nb_channels)
        self.frames = 0
        if self._stream.duration and self._stream.time_base:
            self.frames = int(self._stream.duration * self._stream.time_base * self.sample_rate)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        return _checked(self._read(), self.path)

    def _read(self) -> Iterator[NDArray[np.float32]]:
        to_float = av.AudioResampler(format="fltp")
        try:
            for frame in self._container.decode(self._stream):
                if frame.sample_rate != self.sample_rate:
                    raise AudioError(f"{self.path.name} changes its sample rate on the way")
                for part in to_float.resample(frame):
                    yield self._array(part)
            for part in to_float.resample(None):
                yield self._array(part)
        except (av.FFmpegError, OSError, ValueError) as fault:
            raise AudioError(f"{self.path.name} is damaged: {_reason(fault)}") from fault

    def _array(self, frame: av.AudioFrame) -> NDArray[np.float32]:
        array = frame.to_ndarray().astype(np.float32, copy=False)
        if array.shape[0] != self.channels:
            raise AudioError(f"{self.path.name} changes its channels on the way")
        return array

    def close(self) -> None:
        self._container.close()


def _container(path: Path) -> av.container.InputContainer:
    # An absolute path, so that no name is taken for an address.
    options = {"protocol_whitelist": "file", "format_whitelist": DEMUXERS}
    return av.open(str(path.absolute()), options=options, metadata_errors="replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What a file says about itself: text by libsndfile's names, and the cover's image."""

    text: dict[str, str] = field(default_factory=dict)
    cover: bytes = b""


def labels(path: Path) -> Labels:
    """Return the file's tags and cover; none where they cannot be read, which is no error."""
    try:
        container = _container(path)
    except (av.FFmpegError, OSError, ValueError):
        return Labels()
    with container:
        found = dict(container.metadata)
        for audio in container.streams.audio[:1]:
            found = {**audio.metadata, **found}
        text = {TAGS[k.lower()]: v for k, v in found.items() if k.lower() in TAGS and v.strip()}
        return Labels(text=text, cover=_cover(container))


def _cover(container: av.container.InputContainer) -> bytes:
    for stream in container.streams.video:
        if stream.disposition & av.stream.Disposition.attached_pic:
            try:
                for packet in container.demux(stream):
                    if packet.size:
                        return bytes(packet)
            except (av.FFmpegError, OSError, ValueError):
                return b""
    return b""


def _check_whole(file: IO[bytes], path: Path) -> None:
    """Raise AudioError where a file of chunks ends before the samples that it announces.

    libsndfile takes such files for shorter ones without a word.
    """
    head = file.read(12)
    if not head:
        raise AudioError(f"{path.name} is empty")
    size = file.seek(0, 2)
    for magic, kinds, layout in CHUNKED:
        if head.startswith(magic) and head[8:12] in (kinds or (head[8:12],)):
            at, length = _samples(file, layout, size)
            # A stream's writer that could not go back leaves 0, -1 or the largest number.
            if 0 < length < layout.unknown and at + length > size:
                raise AudioError(
                    f"{path.name} is cut off: {max(size - at, 0)} of {length} bytes of samples "
                    "are there"
                )


@dataclass(frozen=True, slots=True)
class _Chunks:
    """How a format lays out its chunks."""

    first: int  # where they begin
    name: int  # bytes of a chunk's name
    wanted: bytes  # the chunk of samples
    length: str  # how a chunk's length is written
    counts_itself: bool = False  # whether the length includes name and length
    align: int = 1
    unknown: int = (1 << 32) - (1 << 12)


CHUNKED = (
    (b"RIFF", (b"WAVE",), _Chunks(12, 4, b"data", "<I", align=2)),
    (b"FORM", (b"AIFF", b"AIFC"), _Chunks(12, 4, b"SSND", ">I", align=2)),
    (b"caff", (), _Chunks(8, 4, b"data", ">q", unknown=1 << 62)),
    (b"riff", (), _Chunks(40, 16, b"data", "<q", counts_itself=True, align=8, unknown=1 << 62)),
)


def _samples(file: IO[bytes], layout: _Chunks, size: int) -> tuple[int, int]:
    """Return where the samples begin and how many bytes are announced; 0 if they are not there."""
    at, head = layout.first, layout.name + struct.calcsize(layout.length)
    while at + head <= size:
        file.seek(at)
        name = file.read(layout.name)
        length = struct.unpack(layout.length, file.read(head - layout.name))[0]
        length -= head if layout.counts_itself else 0
        at += head
        if name.startswith(layout.wanted):
            return at, length
        if length < 0:
            break
        at += -(-length // layout.align) * layout.align
    return at, 0
