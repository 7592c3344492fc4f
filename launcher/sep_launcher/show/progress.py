"""How far a run is: a bar where there is a terminal, a line now and then where there is none."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sep_launcher.machine import disk
from sep_launcher.show import layout
from sep_launcher.show.layout import GAP, rough
from sep_launcher.show.streams import printable
from sep_protocol import TrackDone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sep_launcher.show.line import Line
    from sep_protocol import Phase, Progress, Track, TrackFailed

    Clock = Callable[[], float]

QUIET_SECONDS = 30.0  # between two lines in a log
BENCH_SECONDS = 5.0  # after so many a scheme of a bench is told
LONG_SECONDS = 300.0  # after so many there is a line, however little is done
STEP = 0.1  # of a track, that is worth a line
MOST_BAR = 30  # columns
LEAST_BAR = 5
NAMES = {"import": "starting", "load": "loading the model", "bench": "measuring"}


class Pace:
    """How fast a run is, and what that means for the rest of it.

    How long a track is, is known when it begins. Those to come are taken to be like those before:
    by their size where these were of the same kind, else by their mean.
    """

    def __init__(self, tracks: Sequence[Track], clock: Clock = time.perf_counter) -> None:
        self._clock = clock
        self._kinds = [(Path(each.audio).suffix.lower(), disk.size(each.audio)) for each in tracks]
        self._lengths: dict[int, float] = {}  # seconds of audio
        self._ended: set[int] = set()
        self._worked = self._heard = 0.0  # seconds of work and of audio, of tracks that are done
        self._here: int | None = None
        self._begun = self._heard_here = 0.0

    def begin(self, track: int) -> None:
        """Note that a track begins."""
        self._here, self._begun, self._heard_here = track, self._clock(), 0.0

    def take(self, event: Progress) -> None:
        """Note how far the track is."""
        if event.total:
            self._lengths[event.track] = event.total / event.sample_rate
        self._heard_here = event.done / event.sample_rate

    def end(self, track: int, *, counts: bool) -> None:
        """Note that a track ended; it `counts` where it was really separated."""
        if counts and self._here == track and self._heard_here:
            self._worked += self._clock() - self._begun
            self._heard += self._heard_here
        self._ended.add(track)
        self._here, self._heard_here = None, 0.0

    @property
    def speed(self) -> float:
        """Seconds of audio per second of work so far; 0: not known."""
        worked = self._worked + (self._clock() - self._begun if self._heard_here else 0.0)
        return (self._heard + self._heard_here) / worked if worked > 0 else 0.0

    def left_here(self) -> float | None:
        """Return the seconds that the track still takes, None where they are not known."""
        length = self._lengths.get(self._here) if self._here is not None else None
        if length is None or not self.speed:
            return None
        return max(0.0, length - self._heard_here) / self.speed

    def left(self) -> float | None:
        """Return the seconds that all tracks still take, None where they are not known."""
        here = self.left_here()
        if here is None:
            return None
        rest = set(range(len(self._kinds))) - self._ended - {self._here}
        return here + self._expected(rest) / self.speed

    def _expected(self, tracks: Iterable[int]) -> float:
        """Return the seconds of audio of tracks that have not begun."""
        alike: dict[str, list[float]] = {}  # seconds per byte, of each kind
        for track, length in self._lengths.items():
            kind, size = self._kinds[track]
            if size:
                alike.setdefault(kind, []).append(length / size)
        rates = {kind: _mean(each) for kind, each in alike.items()}
        usual = _mean(self._lengths.values())
        kinds = (self._kinds[each] for each in tracks)
        return sum(size * rates[kind] if size and kind in rates else usual for kind, size in kinds)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


class Meter:
    """Shows how far a run is; `tell` writes a line that stays."""

    def __init__(
        self,
        tracks: Sequence[Track],
        line: Line,
        tell: Callable[[str], None],
        clock: Clock = time.perf_counter,
    ) -> None:
        self.pace = Pace(tracks, clock)
        self._tracks = tracks
        self._line = line
        self._tell = tell
        self._clock = clock
        self._told = clock()  # when something was said last
        self._share = 0.0  # of the track, that was told

    def phase(self, event: Phase, _who: str = "") -> None:
        """Show that something begins."""
        self._share = 0.0
        if event.track is not None:
            self.pace.begin(event.track)
            self._line.draw(f"{self._name(event.track)} ...")
            return
        name = NAMES.get(event.name, event.name)
        self._line.draw(f"{event.detail or name} ...")
        silent = self._clock() - self._told
        if event.detail and not self._line.is_there and silent >= BENCH_SECONDS:
            self._say(event.detail)

    def progress(self, event: Progress, _who: str = "") -> None:
        """Show how far the track is."""
        self.pace.take(event)
        share = min(1.0, event.done / event.total) if event.total else None
        name = self._name(event.track)
        if width := self._line.width:
            self._line.draw(bar(name, share, self._facts(), width))
        elif self._is_due(share):
            self._share = share or 0.0
            done = "" if share is None else f"{share:.0%}"
            self._say(f"{name}: {', '.join(filter(None, [done, *self._facts()]))}")

    def end(self, event: TrackDone | TrackFailed, _who: str = "") -> None:
        """Note that a track ended, which somebody else tells."""
        self.pace.end(event.track, counts=isinstance(event, TrackDone) and not event.resumed)
        self._line.erase()
        self._told = self._clock()

    def _is_due(self, share: float | None) -> bool:
        """Say whether it is time for a line."""
        silent = self._clock() - self._told
        if silent < QUIET_SECONDS or silent >= LONG_SECONDS:
            return silent >= LONG_SECONDS
        return share is None or share - self._share >= STEP

    def _say(self, text: str) -> None:
        self._told = self._clock()
        self._tell(f"     {text}")

    def _name(self, track: int) -> str:
        name = printable(Path(self._tracks[track].shown or self._tracks[track].audio).name)
        count = len(self._tracks)
        return f"{track + 1}/{count} {name}" if count > 1 else name

    def _facts(self) -> list[str]:
        """Return how long it still takes and how fast it is, the most wanted first."""
        pace = self.pace
        if not pace.speed:
            return []
        left, many = pace.left_here(), len(self._tracks) > 1
        found = [] if left is None else [f"{rough(left)} left"]
        if many and (rest := pace.left()) is not None:
            found = [f"{rough(rest)} left for all", f"{rough(left or 0.0)} for this one"]
        return [*found, layout.speed(pace.speed)]


def bar(name: str, share: float | None, facts: Sequence[str], width: int) -> str:
    """Return one line of at most `width` columns; where it is narrow, facts are left out."""
    name = layout.clipped(name, max(width // 3, 12))
    told = "" if share is None else f" {share:4.0%}"
    room = width - layout.cells(name) - len(told)
    for each in facts:
        if room - len(each) - GAP < LEAST_BAR + 1 and each is not facts[0]:
            break
        told += f"{' ' * GAP}{each}"
        room -= len(each) + GAP
    size = min(MOST_BAR, room - 1)
    if share is None or size < LEAST_BAR:
        return layout.clipped(name + told, width)
    full, empty = _blocks()
    done = round(size * share)
    return f"{name} {full * done}{empty * (size - done)}{told}"


def _blocks() -> tuple[str, str]:
    """Return what is done and what is left of a bar, as far as stderr can write it."""
    known = (sys.stderr.encoding or "").lower().startswith("utf")
    return ("\u2501", "\u254c") if known else ("#", "-")
