"""A mix as blocks in, its stems as blocks out, at the mix's own rate, channels and length."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch

from sep_protocol.errors import AudioError, UsageError
from sep_runtime.audio.mix import STEREO, samples_of
from sep_runtime.audio.resample import Resampler, downmix
from sep_runtime.streams.ahead import Ahead
from sep_runtime.streams.arriving import Arriving, mark
from sep_runtime.streams.single import UNCHANGED, share

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from sep_runtime.streams.overlap import Separator
    from sep_runtime.streams.single import Level

DECODED = 4  # blocks that wait for the network
SEPARATED = 2  # that wait for the encoder


class Pipeline:
    """One pass over one mix; memory is bounded by the chunk, not by the length.

    Three stages run beside each other: reading and resampling, the network, and on the caller's
    thread resampling back; channels are resampled beside each other, too. `level` is that of the
    mix for models that normalise it. Where the separator says that there is a `rest`, a further row
    is the mix minus the others; with `residual` one more is the mix minus all stems. More than two
    channels are refused unless they may be mixed down, by the names in `layout`; `channels` says
    what comes out.
    """

    def __init__(
        self,
        separator: Separator,
        *,
        sample_rate: int,
        channels: int,
        layout: Sequence[str] = (),
        level: Level = UNCHANGED,
        residual: bool = False,
        mix_down: bool = False,
    ) -> None:
        self._matrix: NDArray[np.float32] | None = None
        if channels > STEREO:
            if not mix_down:
                raise AudioError(
                    f"the mix has {channels} channels",
                    hint="downmix=True makes stereo of them",
                    command="--downmix makes stereo of them",
                )
            self._matrix = downmix(channels, layout)
        self._pool: ThreadPoolExecutor | None = None  # begins threads when it is asked
        self._taken = channels
        self._begun = False
        self.channels = min(channels, STEREO)
        self.decode_seconds = 0.0  # of work, reading and resampling
        self.network_seconds = 0.0  # of work
        self.frames = 0  # read so far
        rate, self._stems = separator.sample_rate, len(separator.stems)
        self._summed = self._stems - separator.apart
        self._stream = separator.stream(level)
        self._inner = separator.channels
        self._rate = sample_rate
        self._to_model = Resampler(sample_rate, rate, self.channels)
        self._to_mix = Resampler(rate, sample_rate, self._stems * self.channels)
        self._rests = separator.rest + residual
        self._kept: deque[NDArray[np.float32]] | None = deque() if self._rests else None
        self._given = 0

    @property
    def chunks(self) -> int:
        """How many chunks the network has seen."""
        return self._stream.chunks

    @property
    def models(self) -> int:
        """How many models hear the mix, counted once for every pass."""
        return len(self._stream.stages)

    def worked(self, frames: int) -> int:
        """Return how much of the work on a mix of so many frames is done, as some of them.

        Models that follow each other count by what they cost.
        """
        return round(frames * share(self._stream.stages, frames / self._rate))

    def run(self, blocks: Iterable[NDArray[np.floating]]) -> Iterator[NDArray[np.float32]]:
        """[C, n] each to [S, C, m] each; together as many samples come out as went in.

        Once, for there is one mix to a pass. Raises UsageError for blocks of another form,
        AudioError where what comes out are no numbers: weights that hold none, a device that
        fails, samples near the largest number.
        """
        if self._begun:
            raise UsageError("a pass is for one mix", hint="open another one")
        self._begun = True
        with (
            ThreadPoolExecutor(max(1, torch.get_num_threads()), "resample") as self._pool,
            Ahead(self._mixes(blocks), DECODED) as mixes,
            Ahead(self._separated(mixes), SEPARATED) as stems,
        ):
            for each in stems:
                yield from self._out(each.arrived())
                self.network_seconds += each.seconds
            yield from self._out(torch.zeros(self._stems, self.channels, 0), last=True)

    def _mixes(self, blocks: Iterable[NDArray[np.floating]]) -> Iterator[NDArray[np.float32]]:
        """Yield the mix at the model's rate."""
        begun = time.perf_counter()
        for each in blocks:
            block = samples_of(each, self._taken)
            mix = block if self._matrix is None else self._matrix @ block
            self.frames += mix.shape[1]
            if self._kept is not None:
                self._kept.append(mix)
            resampled = self._to_model.push(mix, pool=self._pool)
            self.decode_seconds += time.perf_counter() - begun
            yield resampled
            begun = time.perf_counter()
        yield self._to_model.push(np.zeros((self.channels, 0), np.float32), last=True)

    def _separated(self, mixes: Iterable[NDArray[np.float32]]) -> Iterator[Arriving]:
        for mix in mixes:
            stems = self._timed(torch.from_numpy(mix).expand(self._inner, -1))
            # The queue is for what there is to wait for, so the next batch is sent meanwhile.
            if stems.samples:
                yield stems
        yield self._timed(None)

    def _timed(self, mix: torch.Tensor | None) -> Arriving:
        """[C, n], or None for the end, to [S, C, m] on the way to the host."""
        begun = time.perf_counter()
        marked = mark(self._stream.device)
        with torch.inference_mode():
            stems = self._stream.finish() if mix is None else self._stream.push(mix)
            if self.channels < self._inner:
                stems = stems.mean(1, keepdim=True)
            arriving = Arriving(stems, marked)
        if marked is None:
            self.network_seconds += time.perf_counter() - begun
        return arriving

    def _out(self, stems: torch.Tensor, *, last: bool = False) -> Iterator[NDArray[np.float32]]:
        lanes = self._to_mix.push(stems.flatten(0, 1).numpy(), last=last, pool=self._pool)
        # Converting there and back may end a sample or two off: the mix's count is what counts.
        short = self.frames - self._given - lanes.shape[1]
        if last and short > 0:
            lanes = np.pad(lanes, ((0, 0), (0, short)))
        lanes = lanes[:, : self.frames - self._given]
        self._given += lanes.shape[1]
        if lanes.shape[1]:
            rows = lanes.reshape(self._stems, self.channels, -1)
            if self._kept is not None:
                left = self._mix_of(lanes.shape[1]) - rows[: self._summed].sum(0)
                # What is left of the mix is there once: nothing remains beside a rest.
                lefts = [left, np.zeros_like(left)][: self._rests]
                rows = np.concatenate((rows, lefts))
            if not np.isfinite(rows).all():
                raise AudioError(
                    "separating it gave samples that are not numbers",
                    hint="its level may be far beyond full scale; else try the device cpu",
                    command="its level may be far beyond full scale; else try --device cpu, or "
                    "look for damage by: sep doctor",
                )
            yield rows

    def _mix_of(self, count: int) -> NDArray[np.float32]:
        """[C, count]: the next samples of the mix that was kept."""
        parts: list[NDArray[np.float32]] = []
        while self._kept and count > 0:
            block = self._kept.popleft()
            parts.append(block[:, :count])
            if block.shape[1] > count:
                self._kept.appendleft(block[:, count:])
            count -= parts[-1].shape[1]
        return np.concatenate(parts, 1)
