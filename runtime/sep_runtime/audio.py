"""Audio files: blocks of float32 [C, n] in and out, and streaming sample rate conversion."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

import numpy as np
import soundfile
import soxr

from sep_protocol.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from sep_protocol.job import BitDepth, Format

BLOCK = 1 << 16  # frames read at once


class Mix:
    """An open audio file to read; raises AudioError for anything that is not whole and finite."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = soundfile.SoundFile(path)
        except (soundfile.LibsndfileError, OSError, TypeError, ValueError) as fault:
            if not path.is_file():
                raise AudioError(f"{path.name} has vanished") from fault
            raise AudioError(
                f"{path.name} cannot be read as audio: {_reason(fault)}", hint="wav and flac can be"
            ) from fault
        self.path = path
        self.sample_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.frames: int = self._file.frames  # as its header says
        self.is_float = self._file.subtype in ("FLOAT", "DOUBLE")
        if self.frames == 0:
            self._file.close()
            raise AudioError(f"{path.name} holds no audio")

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield [C, n] from the start to the end, once."""
        read = 0
        while True:
            try:
                block = self._file.read(BLOCK, dtype="float32", always_2d=True).T
            except (soundfile.LibsndfileError, OSError) as fault:
                raise AudioError(f"{self.path.name} is damaged: {_reason(fault)}") from fault
            if not block.shape[1]:
                break
            if not np.isfinite(block).all():
                raise AudioError(f"{self.path.name} holds samples that are no numbers")
            read += block.shape[1]
            yield np.ascontiguousarray(block)
        if read < self.frames:
            raise AudioError(
                f"{self.path.name} is cut off: {read} of {self.frames} frames are there"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._file.close()


def _reason(fault: BaseException) -> str:
    text = getattr(fault, "error_string", "") or str(fault)
    return text.rstrip(".").lower()


class StemFile:
    """A wav or flac file being written; `clipped` counts samples that its depth cannot hold.

    Integer depths are rounded; 16 bit is dithered with triangular noise of two steps' width
    (TPDF: Lipshitz, Wannamaker, Vanderkooy 1992), seeded, so runs repeat.
    """

    def __init__(
        self, path: Path, *, sample_rate: int, channels: int, file_format: Format, depth: BitDepth
    ) -> None:
        subtype = {"16": "PCM_16", "24": "PCM_24", "float": "FLOAT"}[depth]
        self.path = path
        self.clipped = 0
        self._bits = 0 if depth == "float" else int(depth)
        self._noise = np.random.default_rng(0)
        self._file = soundfile.SoundFile(
            path, "w", sample_rate, channels, subtype, format=file_format.upper()
        )

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append [C, n]."""
        if not self._bits:
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
        with self.path.open("rb+") as file:
            os.fsync(file.fileno())


class Resampler:
    """Streaming sample rate conversion by soxr, very high quality; the identity at equal rates."""

    def __init__(self, source: int, target: int, channels: int) -> None:
        self._stream = (
            soxr.ResampleStream(source, target, channels, dtype="float32", quality="VHQ")
            if source != target
            else None
        )

    def push(self, samples: NDArray[np.float32], *, last: bool = False) -> NDArray[np.float32]:
        """[C, n] to [C, m]; `last` gives the rest."""
        if self._stream is None:
            return samples
        out = self._stream.resample_chunk(np.ascontiguousarray(samples.T), last=last)
        return np.ascontiguousarray(out.T)
