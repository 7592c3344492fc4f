"""Audio files by FFmpeg: what libsndfile cannot read to its end, tags, covers, channels' names."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from sep_protocol.errors import AudioError
from sep_runtime.audio import layouts
from sep_runtime.audio.mix import checked, reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

FAULTS = (av.FFmpegError, OSError, ValueError)
# What FFmpeg may open: containers of audio and video, no playlists, nothing over a network.
DEMUXERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,"
    "ogg,tak,tta,w64,wav,wv"
)
TAGS = {  # those that stems get, by FFmpeg's names, from the names that files use
    "title": "title",
    "artist": "artist",
    "album": "album",
    "date": "date",
    "genre": "genre",
    "comment": "comment",
    "track": "track",
    "tracknumber": "track",
    "copyright": "copyright",
}
# Films whose containers name no channels have them in the order of WAVE.
PACKET = 1 << 16  # frames; none of what libsndfile reads is as long
FILMS = {
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}
PLAIN = {1: "mono", 2: "stereo"}
NAMELESS = ("matroska", "avi", "mpeg", "mpegts", "mov")
UNLIKE = "it has a part of {} Hz, {}: made like the first"
SEAMS = ("mp3", "ogg")  # between their parts there may be what is no sound


def open_container(path: Path) -> av.container.InputContainer:
    """Open a file for FFmpeg; raises one of FAULTS."""
    # An absolute path, so that no name is taken for an address.
    options = {"protocol_whitelist": "file", "format_whitelist": DEMUXERS}
    places = layouts.described(path)
    file: Any = layouts.Masked(path, places) if places else str(path.absolute())
    found: av.container.InputContainer = av.open(
        file, "r", options=options, metadata_errors="replace"
    )
    return found


class AvMix:
    """A Mix by FFmpeg: m4a, aac, wma, the sound of a video, files of several parts.

    Parts of another rate or other channels become like the first one. Raises one of FAULTS.
    """

    is_counted = False

    def __init__(self, path: Path, like: tuple[int, int] | None = None) -> None:
        """Open a file; `like` is (sample rate, channels) that its blocks shall have."""
        self._container = open_container(path)
        try:
            self._stream, codec, others = _sound_of(self._container)
        except ValueError:
            self._container.close()
            raise
        self.path = path
        self.sample_rate, self.channels = like or (
            int(codec.sample_rate or 0),
            int(codec.layout.nb_channels),
        )
        # Of a file with several parts FFmpeg may have any one in mind.
        same = self.channels == codec.layout.nb_channels
        self._form = codec.layout if same else av.AudioLayout(PLAIN[self.channels])
        self.layout = self._names(codec.name)
        self.is_float = codec.name.startswith("pcm_f")
        self.notes = [f"it has {others + 1} sound tracks: {_which(self._stream)}"] if others else []
        self.frames = 0
        self._late = self._unskipped()
        if self._stream.duration and self._stream.time_base:
            self.frames = int(self._stream.duration * self._stream.time_base * self.sample_rate)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield [C, n] from the start to the end, once; raise AudioError for what is damaged."""
        return checked(self._read(), self.path)

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _names(self, codec: str) -> tuple[str, ...]:
        names = tuple(channel.name for channel in self._form.channels)
        if "NONE" not in names:
            return names
        kinds = self._container.format.name.split(",")
        is_film = codec.startswith("pcm_") and any(kind in NAMELESS for kind in kinds)
        return FILMS.get(len(names), ()) if is_film else ()

    def _unskipped(self) -> int:
        """Return the samples of an encoder's delay that FFmpeg does not skip.

        iTunSMPB counts them at the core's rate, half of what HE-AAC decodes to, and FFmpeg takes
        them at the full one. An edit list, whose times it converts, comes before iTunSMPB.
        """
        said = {**self._stream.metadata, **self._container.metadata}.get("iTunSMPB", "").split()
        base, start = self._stream.time_base, self._stream.start_time
        if not (base and start and start > 0 and len(said) > 1):
            return 0
        priming, ratio = int(said[1], 16), base * self.sample_rate
        return int(priming * (ratio - 1)) if start * ratio == priming and ratio > 1 else 0

    def _read(self) -> Iterator[NDArray[np.float32]]:
        skip = self._late
        try:
            for block in self._floats():
                late = min(skip, block.shape[1])
                skip -= late
                if block.shape[1] > late:
                    yield np.ascontiguousarray(block[:, late:])
        except FAULTS as fault:
            raise AudioError(f"{self.path.name} is damaged: {reason(fault)}") from fault

    def _floats(self) -> Iterator[NDArray[np.float32]]:
        converter: av.AudioResampler | None = None
        form = None
        for frame in chain(self._frames(), (None,)):
            now = frame and (frame.sample_rate, frame.layout.name, frame.format.name)
            if now != form:
                for part in converter.resample(None) if converter else ():
                    yield self._array(part)
                if form and frame:
                    self.notes.append(UNLIKE.format(frame.sample_rate, frame.layout.name))
                form = now
                # Packed: of planar frames PyAV counts one plane too many from 8 channels on.
                converter = av.AudioResampler("flt", self._form, self.sample_rate)
            for part in converter.resample(frame) if frame and converter else ():
                yield self._array(part)

    def _frames(self) -> Iterator[av.AudioFrame]:
        """Yield what is decoded; tags and the like between joined parts are left out."""
        good = bad = 0
        for packet in self._container.demux(self._stream):
            try:
                found = packet.decode()
            except av.InvalidDataError:
                bad += 1
                if self._container.format.name not in SEAMS or bad > good:
                    raise
                continue
            good += 1
            yield from found
        if bad:
            self.notes.append(f"{bad} pieces of it are not sound and were left out")

    def _array(self, frame: av.AudioFrame) -> NDArray[np.float32]:
        packed = frame.to_ndarray().astype(np.float32, copy=False)
        return packed.reshape(-1, self.channels).T


def _sound_of(
    container: av.container.InputContainer,
) -> tuple[av.AudioStream, av.AudioCodecContext, int]:
    """Return the sound track to take, its decoder, and how many others there are."""
    found = container.streams.audio
    if not found:
        raise ValueError("there is no sound in it")
    default = av.stream.Disposition.default
    taken = next((each for each in found if each.disposition & default), found[0])
    codec: av.AudioCodecContext | None = taken.codec_context
    if codec is None:
        raise ValueError("its codec is not known")
    return taken, codec, len(found) - 1


def _which(stream: av.AudioStream) -> str:
    number = [each.index for each in stream.container.streams.audio].index(stream.index) + 1
    return f"number {number} was taken"


def layout_of(path: Path) -> tuple[str, ...]:
    """Return the names of a file's channels, none where they cannot be told."""
    try:
        mix = AvMix(path)
    except FAULTS:
        return ()
    mix.close()
    return mix.layout


def counted(path: Path) -> tuple[int, int]:
    """Return how many frames the file's packets announce, and how many of these nobody misses.

    Nothing is decoded. Encoders add their delay and fill up the last packet.
    """
    total = longest = 0
    try:
        with open_container(path) as container:
            stream, codec, _ = _sound_of(container)
            rate = (stream.time_base or 0) * int(codec.sample_rate or 0)
            for packet in container.demux(stream):
                frames = int((packet.duration or 0) * rate)
                if packet.size and 0 < frames < PACKET:  # at a seam it can be any number
                    total += frames
                    longest = max(longest, frames)
    except FAULTS:
        return 0, 0
    return total, 3 * longest


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What a file says about itself: text by FFmpeg's names, and the cover's image."""

    text: dict[str, str] = field(default_factory=dict)
    cover: bytes = b""


def labels(path: Path) -> Labels:
    """Return the file's tags and cover; none where they cannot be read, which is no error."""
    try:
        container = open_container(path)
    except FAULTS:
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
            except FAULTS:
                return b""
    return b""
