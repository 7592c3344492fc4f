"""Two models in a row: one takes the drums out of a song, the other splits them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sep_models import DRUMS
from sep_runtime.streams.aligned import Waiting, at_rate
from sep_runtime.streams.around import AroundSeparator
from sep_runtime.streams.single import UNCHANGED, Stage, level_of
from sep_runtime.streams.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sep_runtime.streams.overlap import Separator, Stream
    from sep_runtime.streams.single import Level

LISTENED = 300  # seconds of drums that a second model's level is measured on, where it wants one


class Chain(AroundSeparator):
    """A Separator: `parts` of a song's drums; what they leave of the song is the rest.

    Samples go from model to model as they are, in float32, at the first one's rate. With
    `intermediate` the first one's stems are the last rows, no part of the sum.
    """

    def __init__(
        self,
        first: Separator,
        second: Separator,
        parts: Sequence[str],
        *,
        intermediate: bool = False,
        turns: Turns | None = None,
    ) -> None:
        super().__init__(first)
        self.stems = (*parts, *(first.stems if intermediate else ()))
        self.apart = len(self.stems) - len(parts)
        self.rest = True
        self.rows = [second.stems.index(each) for each in parts]
        self.cut = second.cut
        self.turns = turns or Turns()
        self.first = first
        self.second = at_rate(second, first.sample_rate)

    def stream(self, level: Level = UNCHANGED) -> ChainStream:
        """Begin a pass over one mix."""
        return ChainStream(self, self.first.stream(level))


class ChainStream:
    """A pass of it.

    The second model hears what the first one gives. One that normalises its mix waits for the level
    of the drums, which is that of their first `LISTENED` seconds.
    """

    def __init__(self, model: Chain, first: Stream) -> None:
        self._model = model
        self._first = first
        self._second: Stream | None = None
        self._drums = Waiting()  # until the second model hears them
        self._others = Waiting()  # stems of the first model, until the parts are as far
        self._row = model.first.stems.index(DRUMS)
        if not model.second.normalize:
            self._second = model.second.stream(UNCHANGED)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Those of both."""
        second = self._second.stages if self._second else (Stage(),)
        return (*self._first.stages, *second)

    @property
    def chunks(self) -> int:
        """How many both networks have seen."""
        return self._first.chunks + (self._second.chunks if self._second else 0)

    @property
    def device(self) -> torch.device:
        """Where the parts are made."""
        return self._second.device if self._second else self._first.device

    def push(self, mix: torch.Tensor) -> torch.Tensor:
        """[C, n] to [S, C, m]."""
        self._hear(self._first.push(mix))
        model = self._model
        if self._drums.samples < self._wanted():
            return torch.zeros(len(model.stems), model.channels, 0, device=self.device)
        return self._with_others(self._begun().push(self._drums.take_all()))

    def finish(self) -> torch.Tensor:
        """[S, C, m]."""
        self._hear(self._first.finish())
        second = self._begun()
        parts = [second.push(self._drums.take_all()), second.finish()]
        return self._with_others(torch.cat([each.to(parts[-1].device) for each in parts], -1))

    def _hear(self, stems: torch.Tensor) -> None:
        self._drums.put(stems[self._row])
        if self._model.apart:
            self._others.put(stems)

    def _wanted(self) -> int:
        """Return how many samples of drums the second model waits for."""
        rate = self._model.sample_rate
        return LISTENED * rate if self._second is None else max(1, self._model.turns.least(rate))

    def _begun(self) -> Stream:
        """Return the second model's pass; the drums that wait tell their level."""
        if self._second is None:
            level = level_of([self._drums.all().cpu().numpy()])
            self._second = self._model.second.stream(level)
        return self._second

    def _with_others(self, stems: torch.Tensor) -> torch.Tensor:
        parts = stems[self._model.rows]
        if not self._model.apart:
            return parts
        return torch.cat((parts, self._others.take(parts.shape[-1]).to(parts.device)))
