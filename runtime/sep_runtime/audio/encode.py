"""Stems out: wav, flac, mp3 and ogg, with exactly the frames they are given."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import av
import numpy as np
import soundfile

from sep_protocol.errors import AudioError, UsageError
from sep_runtime.audio import chunks, id3
from sep_runtime.audio.ffmpeg import FAULTS, Labels
from sep_runtime.audio.mix import for_libsndfile

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from sep_protocol.job import BitDepth, Format

SUBTYPES = {"16": "PCM_16", "24": "PCM_24", "float": "FLOAT"}
WIDTHS = {"16": 2, "24": 3, "float": 4}  # bytes of a sample
LOSSY = {"mp3": "MPEG_LAYER_III", "ogg": "VORBIS"}
QUALITY = {"mp3": 0.0, "ogg": 0.2}  # libsndfile's scale from best to smallest
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
OGG_MOST = 200_000  # Hz; libvorbis has no set-up above
FLAC_FINE, FLAC_MOST = 65_535, 655_350  # Hz; between them the header counts tens
WAV_BYTES = (1 << 32) - (1 << 20)  # more than this and the header needs RF64
# libvorbis keeps what it is given at once on the stack, which on some systems has 512 KiB.
WRITTEN = 1 << 13  # frames
# What a cover may be, by its first bytes; FFmpeg is not asked what else it could take it for.
IMAGES = {id3.JPEG: "jpeg_pipe", id3.PNG: "png_pipe"}


def check_form(file_format: Format, depth: BitDepth | None) -> None:
    """Raise UsageError where the format does not come in that depth."""
    if file_format == "flac" and depth == "float":
        raise UsageError(
            "flac cannot hold float samples",
            hint="bit depth 24, or wav",
            command="--bit-depth 24, or wav",
        )
    if file_format in LOSSY and depth is not None:
        raise UsageError(
            f"{file_format} has no bit depth",
            hint="leave it out",
            command="leave out --bit-depth",
        )


def check_rate(file_format: Format, sample_rate: int) -> None:
    """Raise AudioError where the format cannot hold this rate, with those that it can."""
    holds = {
        "wav": True,
        "mp3": sample_rate in MP3_RATES,
        "ogg": sample_rate <= OGG_MOST,
        "flac": sample_rate <= FLAC_FINE or (sample_rate <= FLAC_MOST and not sample_rate % 10),
    }[file_format]
    if not holds:
        can = {
            "mp3": f"{', '.join(map(str, MP3_RATES))} Hz",
            "ogg": f"up to {OGG_MOST} Hz",
            "flac": f"up to {FLAC_FINE} Hz, and tens up to {FLAC_MOST}",
        }[file_format]
        raise AudioError(
            f"{file_format} cannot hold {sample_rate} Hz",
            hint=f"format wav can; {file_format} can hold {can}",
            command=f"--format wav; {file_format} can hold {can}",
        )


class StemFile:
    """A file being written; `clipped` counts samples that its depth cannot hold.

    Integer depths are rounded; 16 bit is dithered with triangular noise of two steps' width
    (TPDF: Lipshitz, Wannamaker, Vanderkooy 1992), seeded, so runs repeat. `frames` is what is
    expected, 0 where that is not known; above 4 GiB a wav file has RF64 headers. `carried` are
    chunks that a wav file gets from its mix. mp3 is 320 kbit/s.
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
        carried: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self.path = path
        self.clipped = 0
        self._labels = labels or Labels()
        self._carried = carried
        self._format = file_format
        self._bits = 0 if depth in (None, "float") else int(depth)
        self._noise = np.random.default_rng(0)
        self._lossy = file_format in LOSSY
        # Whether it is large shows at its end, where the headers become plain ones if they can.
        self._large = file_format == "wav" and not (
            0 < frames * channels * WIDTHS[depth or "float"] < WAV_BYTES
        )
        self._file = soundfile.SoundFile(
            for_libsndfile(path),
            "w",
            sample_rate,
            channels,
            LOSSY.get(file_format) or SUBTYPES[depth or "24"],
            format="RF64" if self._large else file_format.upper(),
            compression_level=QUALITY[file_format] if self._lossy else None,
            bitrate_mode="CONSTANT" if file_format == "mp3" else None,
        )
        if file_format != "mp3":  # libsndfile takes its text for Latin-1
            for name, value in self._labels.text.items():
                setattr(self._file, "tracknumber" if name == "track" else name, value)

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append [C, n]."""
        if self._lossy:
            self.clipped += int(np.count_nonzero(np.abs(samples) > 1))
            samples = np.clip(samples, -1, 1)  # far beyond, LAME ends the process
            for start in range(0, samples.shape[1], WRITTEN):
                self._file.write(samples.T[start : start + WRITTEN])
            return
        if not self._bits:
            self._file.write(samples.T)
            return
        self._file.write(self._whole(np.ascontiguousarray(samples.T)))

    def _whole(self, samples: NDArray[np.float32]) -> NDArray[np.int32]:
        """[n, C] to whole steps of the depth, in the upper bits that libsndfile takes."""
        top = 1 << (self._bits - 1)
        scaled: NDArray[np.floating]
        if self._bits == 16:  # noqa: PLR2004 (the only depth whose rounding can be heard)
            scaled = np.multiply(samples, top, dtype=np.float64)
            noise = self._noise.random(scaled.shape)
            noise -= self._noise.random(scaled.shape)
            scaled += noise
        else:  # exact in float32, whose numbers near full scale have 24 bits
            with np.errstate(over="ignore"):  # what is infinite is clipped
                scaled = np.multiply(samples, np.float32(top))
        np.rint(scaled, out=scaled)
        if scaled.size and (scaled.min() < -top or scaled.max() > top - 1):
            self.clipped += int(np.count_nonzero((scaled < -top) | (scaled > top - 1)))
            np.clip(scaled, -top, top - 1, out=scaled)
        whole = scaled.astype(np.int32)
        whole <<= 32 - self._bits
        return whole

    def close(self) -> None:
        """Finish the file and wait until the disk has it."""
        self._file.close()
        if self._format == "mp3":
            id3.put_before(self.path, self._labels)
        elif self._format == "flac" and self._labels.cover:
            _add_cover(self.path, self._labels.cover)
        elif self._large or self._carried:
            chunks.finish(self.path, self._carried)
        with self.path.open("rb+") as file:
            os.fsync(file.fileno())


def _add_cover(path: Path, image: bytes) -> None:
    """Put an image into a finished flac file; its audio packets are copied as they are.

    Nothing where it is no image, or one that nobody understands.
    """
    kind = next((name for magic, name in IMAGES.items() if image.startswith(magic)), None)
    if kind is None:
        return
    with_cover = path.with_name(f"{path.name}.new")
    try:
        with (
            av.open(io.BytesIO(image), "r", format=kind) as cover,
            av.open(str(path), "r", format="flac") as source,
            av.open(str(with_cover), "w", format="flac") as target,
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
    except (*FAULTS, IndexError, StopIteration):
        with_cover.unlink(missing_ok=True)
    else:
        with_cover.replace(path)
