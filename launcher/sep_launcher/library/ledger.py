"""What a run of many tracks says of itself beside its output: for other eyes, and the next run.

`OUT/.sep-run/run.<generation>.json`, or `run-K-of-N.<generation>.json` for a shard. Whoever creates
the next generation owns the output; an older one that sees it ends. The truth about tracks are
their reports; this holds what these cannot say: what failed, what is quarantined, who works.
"""

from __future__ import annotations

import json
import os
import platform
import re
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from sep_protocol import DeviceChosen, Phase, TrackDone, TrackFailed
from sep_protocol.codec import FormError, decode
from sep_protocol.errors import InterruptedJob, PathError, QuarantinedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sep_launcher.library.shelf import Shelf
    from sep_launcher.planning.workers import By
    from sep_protocol import Event, Job, Track

SCHEMA = 1
BEAT_SECONDS = 5.0  # between two writings, at least
WATCH_SECONDS = 3 * BEAT_SECONDS  # after so many without a change another machine's run is over
RETRY = "--retry-quarantined tries it again"
QUARANTINED = QuarantinedError.__name__


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A track that was not done."""

    mix: str
    error: str
    message: str
    attempt: int | None = None
    node: str = ""
    identity: str = ""  # of the work; empty: not known


@dataclass(slots=True, kw_only=True)
class Place:
    """A worker as it was seen last."""

    name: str
    node: str = ""
    device: str = ""
    mix: str = ""  # that it works at; empty: none


@dataclass(slots=True, kw_only=True)
class State:
    """A run as it says itself. Times are seconds since 1970 by its own clock."""

    schema: int = SCHEMA
    run: str
    shard: str = ""
    work: str = ""  # what decides its speed (`speeds.work`); empty: not known
    host: str
    pid: int
    born: float
    begun: float
    updated: float
    ended: float | None = None
    exit_code: int | None = None
    tracks: int
    done: int = 0
    before: int = 0  # of those, what had been done by an earlier run
    audio: float = 0.0  # seconds of what was done now
    length: float = 0.0  # seconds of all that is to be done now; 0: not known
    bad: tuple[Bad, ...] = ()
    others: tuple[Bad, ...] = ()  # that earlier runs quarantined, and that are not among the tracks
    workers: tuple[Place, ...] = ()

    @property
    def left(self) -> int:
        """How many tracks have not ended."""
        return self.tracks - self.done - len(self.bad)


@dataclass(slots=True, kw_only=True)
class Ledger:
    """The state of this run, written now and then. `tick` has to be called often."""

    shelf: Shelf
    name: str  # without its generation
    generation: int
    state: State
    tracks: tuple[Track, ...]
    identity: str = ""
    before: tuple[Bad, ...] = ()  # tracks of the run that failed before it began
    clock: Callable[[], float] = time.monotonic
    _bad: dict[int, Bad] = field(default_factory=dict)
    _is_over: bool = False  # another run has taken over
    _workers: dict[str, Place] = field(default_factory=dict)
    _written: float = 0.0

    def known(self) -> dict[int, TrackFailed]:
        """Return what need not be tried: the tracks that are quarantined."""
        return {
            index: TrackFailed(track=index, error=bad.error, message=bad.message, hint=RETRY)
            for index, bad in self._bad.items()
        }

    def recall(self, quarantined: Iterable[Bad], *, retry: bool) -> None:
        """Take over what earlier runs quarantined; `retry`: these tracks may be tried again."""
        numbers = {_mix(track): index for index, track in enumerate(self.tracks)}
        others = []
        for bad in quarantined:
            index = numbers.get(bad.mix)
            same = not (bad.identity and self.identity) or bad.identity == self.identity
            if index is None or not same:
                others.append(bad)
            elif not retry:
                self._bad[index] = bad
        self.state.others = tuple(others)
        self._fill()

    def note(self, event: Event, by: By | None) -> None:
        """Note what the event says."""
        if by is not None:
            self._place(event, by)
        match event:
            case TrackDone():
                self.state.done += 1
                # What a dead attempt of this run had finished is no earlier run's.
                self.state.before += event.resumed and (by is None or by.attempt in (None, 1))
                self.state.audio += 0.0 if event.resumed else event.frames / event.sample_rate
            case TrackFailed():
                self._bad[event.track] = Bad(
                    mix=self._mix(event.track),
                    error=event.error,
                    message=event.message,
                    attempt=by.attempt if by else None,
                    node=by.node if by else "",
                    identity=self.identity,
                )
                if event.error == QUARANTINED and by is not None:
                    self._write()
            case _:
                pass

    def tick(self) -> None:
        """Write how it is, if that is due; raise InterruptedJob where another run took over."""
        if self.clock() - self._written < BEAT_SECONDS:
            return
        newest = self.generation
        with suppress(PathError):  # a store that does not answer now ends no run
            newest = max(_numbers(self.shelf.names(), self.name), default=0)
        if newest > self.generation:
            self._is_over = True
            raise InterruptedJob(f"another sep has taken over: {_who(self.shelf, self.name)}")
        self._write()

    def close(self, exit_code: int) -> None:
        """Write how it ended."""
        self.state.ended, self.state.exit_code = time.time(), exit_code
        self._workers.clear()
        self._write()

    def _place(self, event: Event, by: By) -> None:
        place = self._workers.setdefault(by.worker.name, Place(name=by.worker.name))
        place.node = by.node
        if isinstance(event, DeviceChosen):
            place.device = event.device
        if isinstance(event, Phase):
            place.mix = "" if event.track is None else self._mix(event.track)
        if isinstance(event, TrackDone | TrackFailed):
            place.mix = ""

    def _mix(self, track: int) -> str:
        return _mix(self.tracks[track])

    def _fill(self) -> None:
        self.state.updated = time.time()
        found = tuple(each for _, each in sorted(self._bad.items()))
        self.state.bad = (*self.before, *found)
        self.state.workers = tuple(self._workers.values())

    def _write(self) -> None:
        self._fill()
        state = self.state
        if self._is_over:  # our generation is not there any more
            return
        with suppress(OSError):  # a run does not end because nobody can be told of it
            self.shelf.write(f"{self.name}.{self.generation}.json", _text(state))
        self._written = self.clock()


def begin(
    shelf: Shelf,
    job: Job,
    over: Mapping[int, TrackDone | TrackFailed],
    *,
    shard: str = "",
    work: str = "",
    length: float = 0.0,
    take_over: bool = False,
    retry: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> Ledger:
    """Own the output, or this shard of it, for a Job whose tracks are partly `over`.

    `work`: what decides its speed. `length`: seconds of what is to be done. `retry`: what is
    quarantined may be tried again.

    Raises PathError where another run works there, unless it is to be taken over.
    """
    name = "run" + (f"-{shard.replace('/', '-of-')}" if shard else "")
    names = shelf.names()
    older = _generations(shelf, name, names)
    last = older[-1][1] if older else None
    if last and last.ended is None and not take_over and _is_alive(shelf, name, last, sleep):
        raise PathError(
            f"another sep works here: {_who(shelf, name)}",
            hint="wait for it, or --take-over ends it",
        )
    done = sum(isinstance(each, TrackDone) for each in over.values())
    now = time.time()
    state = State(
        run=job.id,
        shard=shard,
        work=work,
        length=length,
        tracks=len(job.tracks),
        done=done,
        before=done,
        begun=now,
        updated=now,
        **_me(),
    )
    ledger = Ledger(
        shelf=shelf,
        name=name,
        generation=max(_numbers(names, name), default=0) + 1,
        state=state,
        tracks=tuple(each for index, each in enumerate(job.tracks) if index not in over),
        identity=job.identity,
        before=tuple(
            Bad(mix=_mix(job.tracks[index]), error=each.error, message=each.message)
            for index, each in over.items()
            if isinstance(each, TrackFailed)
        ),
    )
    bad = [each for old in _newest(shelf, names) for each in (*old.bad, *old.others)]
    ledger.recall((each for each in bad if each.error == QUARANTINED), retry=retry)
    if not shelf.create(f"{name}.{ledger.generation}.json", _text(state)):
        raise PathError("another sep begins to work here at this moment", hint="wait for it")
    for number in _numbers(names, name):
        shelf.remove(f"{name}.{number}.json")
    return ledger


def states(shelf: Shelf) -> list[State]:
    """Return the newest state of every run and shard."""
    return _newest(shelf, shelf.names())


def is_here(state: State) -> bool | None:
    """Say whether a run's process lives; None where only its own machine can tell."""
    if state.host != platform.node():
        return None
    import psutil  # noqa: PLC0415 (20 ms)

    try:
        process = psutil.Process(state.pid)
        if process.status() == psutil.STATUS_ZOMBIE:  # in a container nobody may ever reap it
            return False
        return abs(process.create_time() - state.born) < 1
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _is_alive(shelf: Shelf, name: str, last: State, sleep: Callable[[float], None]) -> bool:
    """Say whether a run works: of another machine, whether it writes while we look."""
    here = is_here(last)
    if here is not None:
        return here
    for _ in range(int(WATCH_SECONDS)):
        sleep(1.0)
        now = _generations(shelf, name, shelf.names())
        if now and now[-1][1].updated != last.updated:
            return now[-1][1].ended is None
    return False


def _who(shelf: Shelf, name: str) -> str:
    found = _generations(shelf, name, shelf.names())
    state = found[-1][1] if found else None
    return f"process {state.pid} on {state.host}" if state else "it is gone"


def _me() -> dict[str, Any]:
    import psutil  # noqa: PLC0415 (20 ms)

    return {
        "host": platform.node(),
        "pid": os.getpid(),
        "born": psutil.Process().create_time(),
    }


def _mix(track: Track) -> str:
    return track.shown or track.audio


def _numbers(names: Iterable[str], name: str) -> list[int]:
    """Return the generations of a run or shard, those that cannot be read, too."""
    pattern = re.compile(rf"{re.escape(name)}\.([0-9]{{1,9}})\.json")
    return sorted(int(found[1]) for each in names if (found := pattern.fullmatch(each)))


def _generations(shelf: Shelf, name: str, names: Iterable[str]) -> list[tuple[int, State]]:
    """Return the generations of a run or shard that can be read, the newest last."""
    found = ((each, _read(shelf, f"{name}.{each}.json")) for each in _numbers(names, name))
    return [(number, state) for number, state in found if state]


def _newest(shelf: Shelf, names: Sequence[str]) -> list[State]:
    """Return the newest state of each run and shard that can be read."""
    runs = sorted({re.sub(r"\.[0-9]+\.json$", "", each) for each in names})
    every = (_generations(shelf, run, names) for run in runs)
    return [found[-1][1] for found in every if found]


def _read(shelf: Shelf, name: str) -> State | None:
    try:
        found = json.loads(shelf.read(name) or "")
        return decode(State, found) if found["schema"] == SCHEMA else None
    except (ValueError, TypeError, LookupError, FormError, RecursionError):
        return None


def _text(state: State) -> str:
    return json.dumps(asdict(state), indent=1) + "\n"
