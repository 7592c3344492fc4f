"""Stems out: wav, flac, mp3 and ogg, with exactly the frames they are given."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import av
import numpy as np
import soundfile

from sep_runtime.audio.decode import Labels

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from sep_protocol.job import BitDepth, Format

SUBTYPES = {"16": "PCM_16", "24": "PCM_24", "float": "FLOAT"}
LOSSY = {"mp3": "MPEG_LAYER_III", "ogg": "VORBIS"}
QUALITY = {"mp3": 0.0, "ogg": 0.2}  # libsndfile's scale from best to smallest
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
WAV_BYTES = (1 << 32) - (1 << 20)  # more than this and the header needs RF64
WITH_COVER = ("flac", "mp3")


def carries(file_format: Format, sample_rate: int) -> bool:
    """Say whether the format can hold this rate."""
    return file_format != "mp3" or sample_rate in MP3_RATES


class StemFile:
    """A file being written; `clipped` counts samples that its depth cannot hold.

    Integer depths are rounded; 16 bit is dithered with triangular noise of two steps' width
    (TPDF: Lipshitz, Wannamaker, Vanderkooy 1992), seeded, so runs repeat. `frames` is what is
    expected; above 4 GiB a wav file gets RF64 headers. mp3 is 320 kbit/s.
    """

    def __init__(
        self,
        path: Path,
        *,
        sample_rate: int,
        channels: int,
        frames: int = 0,
        file_format: Format,
        depth: BitDepth | None,
        labels: Labels | None = None,
    ) -> None:
        self.path = path
        self.clipped = 0
        self._labels = labels or Labels()
        self._format = file_format
        self._bits = 0 if depth in (None, "float") else int(depth)
        self._noise = np.random.default_rng(0)
        width = {"16": 2, "24": 3}.get(depth or "", 4)
        large = file_format == "wav" and frames * channels * width > WAV_BYTES
        lossy = file_format in LOSSY
        self._file = soundfile.SoundFile(
            path,
            "w",
            sample_rate,
            channels,
            LOSSY.get(file_format) or SUBTYPES[depth or "24"],
            format="RF64" if large else file_format.upper(),
            compression_level=QUALITY[file_format] if lossy else None,
            bitrate_mode="CONSTANT" if file_format == "mp3" else None,
        )
        for name, value in self._labels.text.items():
            setattr(self._file, name, value)

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append [C, n]."""
        if not self._bits:
            if self._format in LOSSY:  # the encoders clip, so it is said
                self.clipped += int(np.count_nonzero(np.abs(samples) > 1))
            self._file.write(samples.T)
            return
        top = 1 << (self._bits - 1)
        scaled = samples.T.astype(np.float64) * top
        if self._bits == 16:  # noqa: PLR2004 (the only depth whose rounding can be heard)
            scaled += self._noise.random(scaled.shape) - self._noise.random(scaled.shape)
        rounded = np.rint(scaled)
        self.clipped += int(np.count_nonzero((rounded < -top) | (rounded > top - 1)))
        # libsndfile takes the upper bits of an int32.
        whole = np.clip(rounded, -top, top - 1).astype(np.int32)
        self._file.write(whole << (32 - self._bits))

    def close(self) -> None:
        """Finish the file and wait until the disk has it."""
        self._file.close()
        if self._labels.cover and self._format in WITH_COVER:
            _add_cover(self.path, self._labels.cover, self._format)
        with self.path.open("rb+") as file:
            os.fsync(file.fileno())


def _add_cover(path: Path, image: bytes, file_format: str) -> None:
    """Put an image into a finished file; its audio packets are copied as they are."""
    with_cover = path.with_name(f"{path.name}.cover")
    try:
        with (
            av.open(io.BytesIO(image), "r") as cover,
            av.open(str(path), "r") as source,
            av.open(str(with_cover), "w", format=file_format) as target,
        ):
            audio = target.add_stream_from_template(source.streams.audio[0])
            picture = target.add_stream_from_template(cover.streams.video[0])
            picture.disposition = av.stream.Disposition.attached_pic
            target.metadata.update(source.metadata)
            shown = next(packet for packet in cover.demux() if packet.size)
            shown.stream, shown.pts, shown.dts = picture, 0, 0
            target.mux(shown)
            for packet in source.demux(source.streams.audio[0]):
                if packet.dts is not None:
                    packet.stream = audio
                    target.mux(packet)
    except (av.FFmpegError, ValueError, IndexError, StopIteration):
        with_cover.unlink(missing_ok=True)  # an image that nobody understands
    else:
        with_cover.replace(path)
