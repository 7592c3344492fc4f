"""How far many workers are: a line for all of them, and one for each where there is a terminal."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sep_launcher.show import layout
from sep_launcher.show.layout import rough
from sep_launcher.show.progress import NAMES, QUIET_SECONDS, bar
from sep_launcher.show.streams import printable
from sep_protocol import TrackDone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sep_launcher.show.line import Line
    from sep_protocol import Phase, Progress, Track, TrackFailed

    Clock = Callable[[], float]

DRAW_SECONDS = 0.1
USUAL_ROWS = 24
EARLY_SECONDS = 5.0  # of work, before which an estimate would be wild
SPARE_ROWS = 4  # of the terminal, that stay for what was said


@dataclass(slots=True)
class _At:
    """What a worker does."""

    text: str
    track: int | None = None
    share: float | None = None  # of the track
    audio: float = 0.0  # seconds of it that are done


class Crowd:
    """Shows how far a run of many workers is; `tell` writes a line that stays.

    What is left is told by the sizes of the tracks that are done, of those that are not.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        sizes: Sequence[float],
        line: Line,
        tell: Callable[[str], None],
        clock: Clock = time.perf_counter,
    ) -> None:
        self._tracks = tracks
        self._sizes = sizes
        self._line = line
        self._tell = tell
        self._clock = clock
        self._at: dict[str, _At] = {}
        self._ended: dict[int, bool] = {}  # and whether it is done
        self._worked = self._audio = 0.0  # size and seconds of audio of what was done here
        self._begun: float | None = None
        self._drawn = 0.0
        self._told = clock()

    def phase(self, event: Phase, who: str) -> None:
        """Show that something begins."""
        if event.track is None:
            self._at[who] = _At(NAMES.get(event.name, event.name))
        else:
            self._begun = self._begun or self._clock()
            name = Path(self._tracks[event.track].shown or self._tracks[event.track].audio).name
            self._at[who] = _At(printable(name), event.track)
        self._draw(now=True)

    def progress(self, event: Progress, who: str) -> None:
        """Show how far a track is."""
        at = self._at.get(who)
        if at is None or at.track != event.track:
            return
        at.share = min(1.0, event.done / event.total) if event.total else None
        at.audio = event.done / event.sample_rate
        self._draw()

    def end(self, event: TrackDone | TrackFailed, who: str) -> None:
        """Note that a track ended, which somebody else tells."""
        self._ended[event.track] = isinstance(event, TrackDone)
        self._at.pop(who, None)
        if isinstance(event, TrackDone) and not event.resumed:
            self._worked += self._sizes[event.track]
            self._audio += event.frames / event.sample_rate
        self._draw(now=True)

    @property
    def overall(self) -> str:
        """How far all of it is, in words."""
        done = sum(self._ended.values())
        failed = len(self._ended) - done
        told = [f"{len(self._ended)}/{len(self._tracks)}"]
        told += [f"{failed} failed"] if failed else []
        left, speed = self.left()
        told += [layout.speed(speed)] if speed else []
        told += [f"{rough(left)} left"] if left is not None else []
        return ", ".join(told)

    def left(self) -> tuple[float | None, float]:
        """Return the seconds that are left, None where not known, and the speed, 0 where not."""
        worked, audio = self._worked, self._audio
        under_way = 0.0
        for at in self._at.values():
            if at.track is not None and at.track not in self._ended and at.share:
                under_way += self._sizes[at.track] * at.share
                audio += at.audio
        passed = self._clock() - self._begun if self._begun is not None else 0.0
        if passed < EARLY_SECONDS or not worked + under_way:
            return None, 0.0
        rest = sum(size for track, size in enumerate(self._sizes) if track not in self._ended)
        seconds = max(0.0, rest - under_way) * passed / (worked + under_way)
        return seconds, audio / passed

    def _draw(self, *, now: bool = False) -> None:
        time_is = self._clock()
        if not self._line.is_there:
            if time_is - self._told >= QUIET_SECONDS and self._begun is not None:
                self._told = time_is
                self._tell(f"     {self.overall}")
            return
        if time_is - self._drawn < DRAW_SECONDS and not now:
            return
        self._drawn = time_is
        self._line.draw(self.overall, *self._lines(self._line.width))

    def _lines(self, width: int) -> list[str]:
        rows = max(1, _rows() - SPARE_ROWS)
        workers = sorted(self._at)
        shown = workers if len(workers) <= rows else workers[: rows - 1]
        column = max((layout.cells(each) for each in shown), default=0)
        found = []
        for each in shown:
            at = self._at[each]
            text = bar(at.text, at.share, (), max(1, width - column - 2))
            found.append(f"  {layout.padded(each, column)}  {text}")
        hidden = len(workers) - len(shown)
        return found + ([f"  and {hidden} more"] if hidden else [])


def _rows() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).lines or USUAL_ROWS
    except (OSError, ValueError):
        return USUAL_ROWS
