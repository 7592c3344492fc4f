"""A mix as blocks in, its stems as blocks out, at the mix's own rate, channels and length."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from sep_protocol.errors import AudioError
from sep_runtime.audio import Resampler

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from sep_runtime.separators import Separator

STEREO = 2


class Pipeline:
    """One pass over one mix; memory is bounded by the chunk, not by the length.

    `level` is (mean, deviation) of the mix for models that want it normalised.
    """

    def __init__(
        self,
        separator: Separator,
        *,
        sample_rate: int,
        channels: int,
        level: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        if channels > STEREO:
            raise AudioError(
                f"the mix has {channels} channels; stems can be made of mono and stereo only"
            )
        rate, lanes = separator.sample_rate, len(separator.stems) * channels
        self.network_seconds = 0.0
        self._stream = separator.stream()
        self._channels = channels
        self._inner = separator.channels
        self._level = level
        self._to_model = Resampler(sample_rate, rate, channels)
        self._to_mix = Resampler(rate, sample_rate, lanes)
        self._taken = 0
        self._given = 0

    @property
    def chunks(self) -> int:
        """How many chunks the network has seen."""
        return self._stream.chunks

    def run(self, blocks: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """[C, n] each to [S, C, m] each; together as many samples come out as went in."""
        for block in blocks:
            self._taken += block.shape[1]
            yield from self._out(self._separate(self._to_model.push(block)))
        rest = self._to_model.push(np.zeros((self._channels, 0), np.float32), last=True)
        yield from self._out(self._separate(rest))
        yield from self._out(self._timed(None), last=True)

    def _separate(self, mix: NDArray[np.float32]) -> torch.Tensor:
        return self._timed(torch.from_numpy(mix).expand(self._inner, -1))

    def _timed(self, mix: torch.Tensor | None) -> torch.Tensor:
        """[C, n], or None for the end, to [S, C, m] on the host."""
        begun = time.perf_counter()
        mean, deviation = self._level
        with torch.inference_mode():
            if mix is None:
                stems = self._stream.finish()
            else:
                stems = self._stream.push((mix - mean) / deviation)
            stems = stems * deviation + mean
            if self._channels < self._inner:
                stems = stems.mean(1, keepdim=True)
            stems = stems.cpu()
        self.network_seconds += time.perf_counter() - begun
        return stems

    def _out(self, stems: torch.Tensor, *, last: bool = False) -> Iterator[NDArray[np.float32]]:
        lanes = self._to_mix.push(stems.flatten(0, 1).numpy(), last=last)
        # Converting there and back may end a sample or two off: the mix's count is what counts.
        short = self._taken - self._given - lanes.shape[1]
        if last and short > 0:
            lanes = np.pad(lanes, ((0, 0), (0, short)))
        lanes = lanes[:, : self._taken - self._given]
        self._given += lanes.shape[1]
        if lanes.shape[1]:
            yield lanes.reshape(len(stems), self._channels, -1)


def level_of(blocks: Iterable[NDArray[np.float32]]) -> tuple[float, float]:
    """Return mean and standard deviation of the mono sum of [C, n] blocks."""
    count, total, squares = 0, 0.0, 0.0
    for block in blocks:
        mono = block.mean(0, dtype=np.float64)
        count += mono.size
        total += float(mono.sum())
        squares += float(np.square(mono).sum())
    mean = total / max(count, 1)
    variance = max(squares / max(count, 1) - mean * mean, 0.0)
    return mean, variance**0.5 or 1.0
