"""Several passes over one mix, and the mean of their stems: of other models, or of one shifted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sep_runtime.streams.aligned import Waiting, at_rate
from sep_runtime.streams.around import AroundSeparator, AroundStream
from sep_runtime.streams.single import UNCHANGED
from sep_runtime.streams.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sep_runtime.streams.overlap import Separator, Stream
    from sep_runtime.streams.single import Level, Stage


class Ensemble(AroundSeparator):
    """A Separator: the weighted mean, per stem and in time, of models with the same stems.

    `weights` [models, stems] need not sum to 1. All hear the mix at the first one's rate.
    """

    def __init__(
        self,
        separators: Sequence[Separator],
        weights: torch.Tensor,
        turns: Turns | None = None,
    ) -> None:
        super().__init__(separators[0])
        self.normalize = any(each.normalize for each in separators)
        self.turns = turns or Turns()
        self.members = [at_rate(each, self.sample_rate) for each in separators]
        self.orders = [[each.stems.index(stem) for stem in self.stems] for each in separators]
        self.weights = weights / weights.sum(0)

    def stream(self, level: Level = UNCHANGED) -> EnsembleStream:
        """Begin a pass over one mix."""
        return EnsembleStream(self, [each.stream(level) for each in self.members])


class EnsembleStream:
    """A pass of it: every model hears the mix, a turn at a time where they have to make room."""

    def __init__(self, model: Ensemble, streams: Sequence[Stream]) -> None:
        self._model = model
        self._streams = streams
        self._mix = Waiting()
        self._stems = [Waiting() for _ in streams]

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Those of all."""
        return tuple(stage for each in self._streams for stage in each.stages)

    @property
    def chunks(self) -> int:
        """How many all networks have seen."""
        return sum(each.chunks for each in self._streams)

    @property
    def device(self) -> torch.device:
        """Where stems are added."""
        return self._streams[0].device

    def push(self, mix: torch.Tensor) -> torch.Tensor:
        """[C, n] to [S, C, m]."""
        self._mix.put(mix)
        if self._mix.samples < self._model.turns.least(self._model.sample_rate):
            return self._mean()
        heard = self._mix.take_all()
        for stream, stems in zip(self._streams, self._stems, strict=True):
            stems.put(stream.push(heard))
        return self._mean()

    def finish(self) -> torch.Tensor:
        """[S, C, m]."""
        heard = self._mix.take_all() if self._mix.samples else None
        for stream, stems in zip(self._streams, self._stems, strict=True):
            if heard is not None:
                stems.put(stream.push(heard))
            stems.put(stream.finish())
        return self._mean()

    def _mean(self) -> torch.Tensor:
        """Return the mean of what all have given."""
        count = min(each.samples for each in self._stems)
        model = self._model
        if not count:
            return torch.zeros(len(model.stems), model.channels, 0, device=self.device)
        total = torch.zeros(len(model.stems), model.channels, count, device=self.device)
        for waiting, order, weight in zip(self._stems, model.orders, model.weights, strict=True):
            rows = waiting.take(count).to(total.device)[order]
            total += rows * weight.to(total.device).view(-1, 1, 1)
        return total


class Delayed(AroundSeparator):
    """A Separator that hears a mix after so many samples of silence; stems are where they were."""

    def __init__(self, separator: Separator, delay: int) -> None:
        super().__init__(separator)
        self._separator = separator
        self._delay = delay

    def stream(self, level: Level = UNCHANGED) -> DelayedStream:
        """Begin a pass over one mix."""
        quiet = level[0] if self.normalize else 0.0  # silence once it is normalised
        silence = torch.full((self.channels, self._delay), quiet)
        return DelayedStream(self._separator.stream(level), silence)


class DelayedStream(AroundStream):
    """A pass of it."""

    def __init__(self, stream: Stream, silence: torch.Tensor) -> None:
        super().__init__(stream)
        self._silence: torch.Tensor | None = silence  # until the mix begins
        self._skip = silence.shape[-1]

    def push(self, mix: torch.Tensor) -> torch.Tensor:
        """[C, n] to [S, C, m]."""
        if self._silence is not None:
            mix = torch.cat((self._silence.to(mix.device), mix), -1)
            self._silence = None
        return self._trimmed(self._stream.push(mix))

    def finish(self) -> torch.Tensor:
        """[S, C, m]."""
        return self._trimmed(self._stream.finish())

    def _trimmed(self, stems: torch.Tensor) -> torch.Tensor:
        skipped = min(self._skip, stems.shape[-1])
        self._skip -= skipped
        return stems.narrow(-1, skipped, stems.shape[-1] - skipped)


def shifted(separator: Separator, passes: int) -> Separator:
    """Return the mean of so many passes of a separator, each delayed; one pass is itself.

    The delays lie evenly between two frames of its transform: what gains is where frames lie on the
    sound. Whole frames gain nothing, and demucs' delays, drawn up to half a second, less; so says
    benchmarks/shifts.py.
    """
    if passes == 1:
        return separator
    delays = [round(separator.step * each / passes) for each in range(passes)]
    members = [Delayed(separator, each) if each else separator for each in delays]
    return Ensemble(members, torch.ones(passes, len(separator.stems)))
