"""One model's part of a pass: its mix at the level that it wants, and how far it is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sep_runtime.streams.around import AroundPass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from sep_runtime.streams.overlap import Pass

Level = tuple[float, float]  # mean and deviation of a mix
UNCHANGED: Level = (0.0, 1.0)  # of one that is not normalised


@dataclass(slots=True)
class Stage:
    """How far one model is with a mix."""

    done: float = 0.0  # seconds of audio
    work: float = 0.0  # seconds of time that they took


class Single(AroundPass):
    """A Stream of one model: the mix is normalised by `level`, the stems are at the mix's again."""

    def __init__(self, within: Pass, sample_rate: int, level: Level) -> None:
        super().__init__(within)
        self.stage = Stage()
        self._rate = sample_rate
        self._level = level

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Its own."""
        return (self.stage,)

    def push(self, mix: Tensor) -> Tensor:
        """[C, n] to [S, C, m]."""
        mean, deviation = self._level
        return self._done(mix if self._level == UNCHANGED else (mix - mean) / deviation)

    def finish(self) -> Tensor:
        """[S, C, m]."""
        return self._done(None)

    def _done(self, mix: Tensor | None) -> Tensor:
        begun = time.perf_counter()
        stems = self._pass.finish() if mix is None else self._pass.push(mix)
        mean, deviation = self._level
        if self._level != UNCHANGED:
            stems = stems * deviation + mean
        self.stage.done += stems.shape[-1] / self._rate
        self.stage.work += time.perf_counter() - begun
        return stems


def share(stages: Sequence[Stage], seconds: float) -> float:
    """Return how much of the work on so many seconds of audio is done, 0 to 1.

    A stage that has not begun is taken to cost as much as the mean of those that have.
    """
    known = [each.work / each.done for each in stages if each.done]
    if not known or seconds <= 0:
        return 0.0
    mean = sum(known) / len(known) or 1.0
    costs = [each.work / each.done if each.done else mean for each in stages]
    done = sum(min(each.done, seconds) * cost for each, cost in zip(stages, costs, strict=True))
    return done / (seconds * (sum(costs) or 1.0))


def level_of(blocks: Iterable[NDArray[np.float32]]) -> Level:
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
