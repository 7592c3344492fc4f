"""Audio files in: blocks of float32 [C, n] from whatever libsndfile or FFmpeg can read."""

from __future__ import annotations

import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import av
import numpy as np
import soundfile

from sep_protocol.errors import AudioError
from sep_runtime.audio import ffmpeg, ogg
from sep_runtime.audio.chunks import REST, announced
from sep_runtime.audio.mix import BLOCK, RATES, checked, for_libsndfile, reason
from sep_runtime.audio.resample import Resampler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from sep_runtime.audio.chunks import Announced
    from sep_runtime.audio.mix import Mix

STEREO = 2
BEHIND = "{} bytes behind its samples were left out"
# Whose readers end where a header says, though there may be more, and whose length is an estimate.
LOSSY = ("MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III", "VORBIS", "OPUS")
UNKNOWN = 1 << 62  # more frames than this are none that were counted


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
    found = _check_whole(path)
    mix: Mix | None = None
    with suppress(soundfile.LibsndfileError, OSError, TypeError, ValueError):
        mix = _SndfileMix(path)
    try:
        mix = mix or ffmpeg.AvMix(path)
    except av.ArgumentError as fault:
        raise AudioError(f"{path.name} is not in a format that sep can read") from fault
    except av.InvalidDataError as fault:
        raise AudioError(f"{path.name} is not audio, or it is damaged") from fault
    except ffmpeg.FAULTS as fault:
        raise AudioError(f"{path.name} cannot be read as audio: {reason(fault)}") from fault
    if found and found.rest:
        mix.notes.append(BEHIND.format(found.rest))
    if found and found.unfinished:
        there = found.size - found.at
        mix.notes.append(
            f"its header counts {found.unfinished} bytes of samples, {there} are there: it may be "
            "cut off, or come from a pipe"
        )
    return mix


def _check_whole(path: Path) -> Announced | None:
    """Return what a file of chunks announces, None for any other.

    Raises AudioError for what is no file, cannot be read, or ends before those samples:
    libsndfile takes such files for shorter ones without a word.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # before it is opened: a pipe would wait
            what = "a folder" if path.is_dir() else "no file but a pipe or a device"
            raise AudioError(f"{path.name or path} is {what}")
        with path.open("rb") as file:
            if not file.read(1):
                raise AudioError(f"{path.name} is empty")
            file.seek(0)
            found = announced(file)
    except FileNotFoundError as fault:
        raise AudioError("there is no file {path}", path=str(path)) from fault
    except OSError as fault:
        raise AudioError(f"{path.name} cannot be read: {fault.strerror}") from fault
    if found and found.at + found.length > found.size:
        there = max(found.size - found.at, 0)
        raise AudioError(
            f"{path.name} is cut off: {there} of {found.length} bytes of samples are there"
        )
    return found


class _SndfileMix:
    """A Mix by libsndfile; where its reader would end before the file does, FFmpeg reads on.

    Raises ValueError, or one of libsndfile's, for what FFmpeg has to read.
    """

    def __init__(self, path: Path) -> None:
        self._file = soundfile.SoundFile(for_libsndfile(path))
        try:
            self._check()
        except ValueError:
            self._file.close()
            raise
        self.path = path
        self.sample_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.frames: int = self._file.frames
        self.is_float = self._file.subtype in ("FLOAT", "DOUBLE")
        self._lossy = self._file.subtype in LOSSY
        self.is_counted = not self._lossy and self._file.format != "FLAC"
        self.notes: list[str] = []
        self.layout: tuple[str, ...] = ()
        if self.channels > STEREO:
            names = ffmpeg.layout_of(path)
            self.layout = names if len(names) == self.channels else ()

    def _check(self) -> None:
        """Raise ValueError for what libsndfile opens and cannot read, or not in WAVE's order."""
        if not 0 < self._file.frames < UNKNOWN:
            raise ValueError("how many frames it has is not known")
        if self._file.format == "OGG" and self._file.channels > STEREO:
            raise ValueError("its channels are in an order of their own")

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        return checked(self._parts(), self.path)

    def _parts(self) -> Iterator[NDArray[np.float32]]:
        """Yield the blocks by the reader that reaches the file's end."""
        if self._file.format == "OGG":
            yield from self._links()
            return
        if not self.is_counted:
            count, spare = ffmpeg.counted(self.path)
            if count > self.frames + (spare if self._lossy else 0):
                yield from self._by_ffmpeg()
                return
            if count and not self._lossy:
                self._check_count(count)
        yield from self._read(self._file)

    def _check_count(self, found: int) -> None:
        if found < self.frames:
            raise AudioError(
                f"{self.path.name} is cut off: {found} of {self.frames} frames are there"
            )

    def _links(self) -> Iterator[NDArray[np.float32]]:
        """Yield the blocks of every link of an ogg's chain; FFmpeg ends where channels change."""
        found = ogg.chain(self.path)
        if not found.is_whole:
            self.notes.append("it ends without its end mark: it may be cut off")
        if found.rest > REST:
            self.notes.append(BEHIND.format(found.rest))
        ends = (*found.starts[1:], found.end)
        for start, end in zip(found.starts, ends, strict=True):
            with ogg.Part(self.path, start, end) as part:
                try:
                    link = soundfile.SoundFile(part)
                except (soundfile.LibsndfileError, TypeError, ValueError) as fault:
                    raise AudioError(f"{self.path.name} has a part that cannot be read") from fault
                with link:
                    yield from self._like_first(link)

    def _like_first(self, link: soundfile.SoundFile) -> Iterator[NDArray[np.float32]]:
        """Yield the blocks of a link, at the rate and with the channels of the first one."""
        fit = Resampler(link.samplerate, self.sample_rate, self.channels)
        if (link.samplerate, link.channels) != (self.sample_rate, self.channels):
            channels = f"{link.channels} channel{'s' * (link.channels > 1)}"
            self.notes.append(ffmpeg.UNLIKE.format(link.samplerate, channels))
        for block in self._read(link):
            own = block
            if link.channels != self.channels:
                own = np.repeat(block.mean(0, keepdims=True), self.channels, axis=0)
            yield fit.push(own)
        yield fit.push(np.zeros((self.channels, 0), np.float32), last=True)

    def _by_ffmpeg(self) -> Iterator[NDArray[np.float32]]:
        try:
            mix = ffmpeg.AvMix(self.path, (self.sample_rate, self.channels))
        except (*ffmpeg.FAULTS, KeyError) as fault:
            raise AudioError(f"{self.path.name} is damaged: {reason(fault)}") from fault
        try:
            yield from mix.blocks()
        finally:
            mix.close()
            self.notes += mix.notes

    def _read(self, file: soundfile.SoundFile) -> Iterator[NDArray[np.float32]]:
        read = 0
        while True:
            try:
                block = file.read(BLOCK, dtype="float32", always_2d=True).T
            except (soundfile.LibsndfileError, OSError) as fault:
                raise AudioError(f"{self.path.name} is damaged: {reason(fault)}") from fault
            if not block.shape[1]:
                break
            read += block.shape[1]
            yield np.ascontiguousarray(block)
        if not self._lossy:
            self._check_count(read)

    def close(self) -> None:
        self._file.close()
