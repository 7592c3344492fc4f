"""How far a track is, told now and then."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sep_protocol import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from sep_protocol import Event
    from sep_runtime.audio.mix import Mix
    from sep_runtime.streams.pipeline import Pipeline

PROGRESS_SECONDS = 0.1  # between two Progress events


class Telling:
    """Tells of one track's progress, from its beginning on.

    One model is as far as its stems. Of several that follow each other, which give nothing for a
    while, the work counts; it never goes back, though what a model costs becomes known by and by.
    """

    def __init__(
        self, emit: Callable[[Event], None], track: int, mix: Mix, pipeline: Pipeline
    ) -> None:
        self._emit = emit
        self._track = track
        self._mix = mix
        self._pipeline = pipeline
        self._finished = 0  # frames of stems
        self._done = 0  # frames that were told
        self._last = 0.0
        self._tell(mix.frames)

    def take(self, frames: int) -> None:
        """Note that so many frames of stems are ready."""
        self._finished += frames

    def idle(self) -> None:
        """Tell how far it is, if that is due."""
        if time.perf_counter() - self._last < PROGRESS_SECONDS:
            return
        total = max(self._mix.frames, self._finished)
        several = self._pipeline.models > 1 and self._mix.frames
        done = min(total, self._pipeline.worked(total)) if several else self._finished
        if done > self._done:
            self._done = done
            self._tell(total)

    def end(self) -> None:
        """Tell that all is done."""
        self._done = self._finished
        self._tell(self._finished)

    def _tell(self, total: int) -> None:
        self._last = time.perf_counter()
        rate = self._mix.sample_rate
        self._emit(Progress(track=self._track, done=self._done, total=total, sample_rate=rate))
