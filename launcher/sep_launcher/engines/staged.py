"""An Engine around an Engine, for mixes and stems in object stores.

What it is asked for has addresses; what the inner engine gets has paths of this disk alone. Each
mix is fetched behind the track before it, and stems are stored behind the one after it. Every track
is a Job of its own for the inner engine, because a runtime would not wait for a mix: so the inner
engine should be one that keeps its runtime between Jobs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from concurrent.futures import Future, wait
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sep_launcher.engines.around import Around
from sep_launcher.engines.commit import Made, commit
from sep_launcher.engines.staging import expected, size
from sep_launcher.machine import storage
from sep_launcher.planning import names, remote
from sep_launcher.planning.plan import STEM_BYTES
from sep_protocol import (
    DeviceChosen,
    Done,
    Failed,
    Hello,
    ModelLoaded,
    Phase,
    Progress,
    TrackDone,
    TrackFailed,
    Warned,
    code,
)
from sep_protocol.errors import SepError, TrackError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from sep_launcher.engines import Engine
    from sep_launcher.engines.staging import Staging
    from sep_launcher.planning.plan import Plan
    from sep_protocol import Event, Track

T = TypeVar("T")
SIGN_SECONDS = 30.0  # between two signs of life while a store is slow
UNSTORED = 2  # tracks that are being stored while the next one is made
END_SECONDS = 5.0  # that threads have to hear that it is over
MORE = "name more by --stage-limit, or another disk by --stage"


@dataclass(slots=True, eq=False)
class _Unit:
    """A track on this disk."""

    index: int  # in the plan
    track: Track  # with addresses
    folder: Path | None = None
    room: int = 0  # bytes
    local: Track | None = None  # with paths; once it is ready
    ready: Future[Track] = field(default_factory=Future)

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield what the runtime may call its parts, and what people call them."""
        if self.local is not None:
            yield self.local.audio, self.track.audio
            yield self.local.out, self.track.out
            yield str(Path(self.local.out).parent), storage.parent(self.track.out)


class Staged(Around):
    """An Engine whose Jobs may have addresses in stores where others have paths.

    `may_commit` is asked with the Job's id and a track's index before anything of it is stored:
    whether nobody else has it meanwhile.
    """

    def __init__(
        self,
        inner: Engine,
        staging: Staging,
        *,
        may_commit: Callable[[str, int], bool] = lambda *_: True,
    ) -> None:
        super().__init__(inner)
        self._staging = staging
        self._may_commit = may_commit
        self._behind = _Behind()

    def start(self, plan: Plan) -> Generator[Event, None, None]:
        """Yield the events of all tracks as of one Job; the inner engine's where it has none."""
        if not plan.job.tracks:
            yield from self._inner.start(plan)
            return
        self._behind = behind = _Behind()
        run = _Run(
            plan=plan,
            inner=self._inner,
            staging=self._staging,
            may_commit=self._may_commit,
            behind=behind,
        )
        try:
            yield from run.events()
        finally:
            behind.over.set()
            run.clear()

    def stop(self) -> None:
        """End the runtime, and what is being fetched or stored: of that nothing is left here."""
        self._behind.over.set()
        self._inner.stop()
        self._behind.end()

    def kill(self) -> None:
        """End the runtime now."""
        self._behind.over.set()
        super().kill()


class _Behind:
    """Threads that keep nobody from leaving; what they do looks whether it is over."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._threads: list[threading.Thread] = []

    def do(self, work: Callable[[], T]) -> Future[T]:
        """Begin with something; whoever waits for it gets what it raises."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except BaseException as fault:  # noqa: BLE001 (it is theirs)
                future.set_exception(fault)

        self._threads = [each for each in self._threads if each.is_alive()]
        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()
        return future

    def end(self) -> None:
        """Wait a while until nothing is done any more."""
        end = time.monotonic() + END_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))


@dataclass(kw_only=True)
class _Run:
    """One start of the engine."""

    plan: Plan
    inner: Engine
    staging: Staging
    may_commit: Callable[[str, int], bool]
    behind: _Behind

    def __post_init__(self) -> None:
        self._begun = time.perf_counter()
        self._told: dict[object, Event] = {}  # what is said once
        self._early: list[Event] = []  # before the runtime said hello
        self._storing: list[tuple[_Unit, Future[TrackDone]]] = []
        self._outcomes: dict[int, TrackDone | TrackFailed] = {}
        self._phases: dict[str, float] = {}
        self._units: list[_Unit] = []  # that may have something on this disk
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Give back what tracks have that came to no end, each when nobody works at it."""
        for unit in list(self._units):
            unit.ready.add_done_callback(partial(self._drop_of, unit))

    def events(self) -> Generator[Event, None, None]:
        """Yield Hello first and Done or Failed last; see `Engine.start`."""
        tracks = self.plan.job.tracks
        todo = range(len(tracks))
        coming = self._fetch(todo[0]) if todo else None
        for number, index in enumerate(todo):
            unit = coming or self._fetch(index)
            coming = None
            yield from self._settled(at_most=UNSTORED - 1)
            while not unit.ready.done():
                yield from self._say(Phase(name="fetch", track=index))
                wait([unit.ready], SIGN_SECONDS)
            try:
                unit.ready.result()
            except storage.StoppedError:
                return
            except (SepError, OSError) as fault:
                yield from self._failed(unit, fault)
                continue
            coming = self._fetch(todo[number + 1]) if todo[number + 1 :] else None
            try:
                failed = yield from self._made(unit)
            except SepError:
                yield from self._settled()
                raise
            if failed:
                yield from self._settled()
                yield failed
                return
        yield from self._settled()
        if not any(isinstance(each, Hello) for each in self._told.values()):
            yield from self._say(Hello(job=self.plan.job.id, code=code.digest()))
        failures = sum(isinstance(each, TrackFailed) for each in self._outcomes.values())
        yield Done(
            done=len(tracks) - failures,
            failed=failures,
            seconds=time.perf_counter() - self._begun,
            phases=self._phases,
        )

    def _fetch(self, index: int) -> _Unit:
        """Begin to bring a track's mix here."""
        unit = _Unit(index=index, track=self.plan.job.tracks[index])
        self._units.append(unit)
        unit.ready = self.behind.do(lambda: self._bring(unit))
        return unit

    def _bring(self, unit: _Unit) -> Track:
        """Bring a mix here, when there is room for it and its stems; return the track with paths.

        Raises TrackError where it is too large, StorageError, OSError, StoppedError.
        """
        track, output = unit.track, self.plan.job.output
        source = self.plan.sources.get(track.audio)
        mix = source.size if source else 0
        if mix > self.staging.limit:
            most = f"{self.staging.limit / 1e6:.0f} MB"
            message = f"{track.audio} has {mix / 1e6:.0f} MB, and {most} may be staged"
            raise TrackError(message, hint=MORE)
        stems = 0
        if storage.is_url(track.out):
            there = source.size if source else Path(track.audio).stat().st_size
            ending = Path(storage.name(track.audio)).suffix
            stems = expected(there, ending, self.plan.stems, output.format)
        unit.room = self.staging.take(mix + stems, self.behind.over)
        if self.behind.over.is_set():
            raise storage.StoppedError
        unit.folder = self.staging.folder()
        audio, out = track.audio, track.out
        if source:
            (unit.folder / "mix").mkdir()
            path = unit.folder / "mix" / _file_name(track.audio)
            storage.fetch(source, path, self.behind.over)
            if source.mtime_ns:  # else now: what has no time is read again
                os.utime(path, ns=(source.mtime_ns, source.mtime_ns))
            audio = str(path)
        if storage.is_url(track.out):
            (unit.folder / "stems").mkdir()
            out = str(unit.folder / "stems" / _file_name(track.out))
        unit.local = replace(track, audio=audio, out=out)
        return unit.local

    def _made(self, unit: _Unit) -> Generator[Event, None, Failed | None]:
        """Yield the events of a track, and begin to store it; return how the Job failed, if so."""
        job = self.plan.job
        output = job.output
        if storage.is_url(unit.track.out):  # here nothing is in the way
            output = replace(output, overwrite=False, resume=False)
        part = replace(self.plan, job=replace(job, tracks=(unit.ready.result(),), output=output))
        with closing(self.inner.start(part)) as heard:
            for event in heard:
                match event:
                    case Failed():
                        self._drop(unit)
                        path = event.path and self._words(event.path, unit)
                        return replace(event, path=path, message=self._words(event.message, unit))
                    case Done():
                        for name, seconds in event.phases.items():
                            self._phases[name] = self._phases.get(name, 0.0) + seconds
                    case TrackDone():
                        yield from self._ended(unit, event)
                    case TrackFailed():
                        self._drop(unit)
                        yield from self._say(self._translated(event, unit))
                    case _:
                        yield from self._say(self._translated(event, unit))
                if isinstance(event, Progress) and self.staging.is_over():
                    self.inner.pause()  # until there is room again
                    yield from self._settled()
                    self.inner.go_on()
                    if self.staging.is_over() and size(unit.folder or Path()) > unit.room:
                        self.inner.stop()
                        message = "its stems need more room than may be staged"
                        yield from self._failed(unit, TrackError(message, hint=MORE))
                        return None
                yield from self._settled(at_most=UNSTORED)
        return None

    def _ended(self, unit: _Unit, event: TrackDone) -> Iterator[Event]:
        """Store a track that is whole here, behind what follows; one of this disk is done."""
        done = replace(event, track=unit.index)
        folder = Path(event.out)
        made = Made(plan=self.plan, done=done, folder=folder)
        if unit.folder is not None:
            unit.room = self.staging.adjust(unit.room, size(unit.folder))
        if storage.is_url(unit.track.out):

            def may() -> bool:
                return self.may_commit(self.plan.job.id, unit.index)

            def store() -> TrackDone:
                try:
                    return commit(made, may, self.behind.over)
                finally:  # here: whoever waits for room may be waited for by who hears of this
                    self._drop(unit)

            self._storing.append((unit, self.behind.do(store)))
            return
        if not event.resumed:
            with contextlib.suppress(OSError, ValueError):  # without it a mix is fetched once more
                _rewrite(folder / unit.track.report, self.plan, unit.track)
        self._drop(unit)
        yield from self._say(done)

    def _settled(self, at_most: int = 0) -> Iterator[Event]:
        """Yield what came of tracks that were being stored; wait until so many are left."""
        while self._storing:
            unit, future = self._storing[0]
            if not future.done() and len(self._storing) <= at_most:
                return
            while not future.done():
                wait([future], SIGN_SECONDS)
                if not future.done():
                    yield from self._say(Phase(name="store", track=unit.index))
            try:
                done = future.result()
            except storage.StoppedError:
                self._storing.pop(0)
                continue
            except (SepError, OSError) as fault:
                self._storing.pop(0)
                yield from self._failed(unit, fault)
                continue
            self._storing.pop(0)
            yield from self._say(done)

    def _failed(self, unit: _Unit, fault: SepError | OSError) -> Iterator[Event]:
        """Give a track up; the others go on."""
        self._drop(unit)
        told = fault
        if isinstance(told, OSError):
            told = TrackError(f"staging failed: {told.strerror or told}", hint=MORE)
        yield from self._say(
            TrackFailed(
                track=unit.index,
                error=TrackError.__name__,
                message=told.message,
                hint=told.hint,
            )
        )

    def _drop(self, unit: _Unit) -> None:
        """Clear a track away from this disk, whoever comes first."""
        with self._lock:
            folder, unit.folder = unit.folder, None
            room, unit.room = unit.room, 0
            if unit in self._units:
                self._units.remove(unit)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        self.staging.give(room)

    def _drop_of(self, unit: _Unit, _ready: Future[Track]) -> None:
        self._drop(unit)

    def _say(self, event: Event) -> Iterator[Event]:
        """Yield an event unless it was said before; the runtime's hello comes first."""
        if isinstance(event, TrackDone | TrackFailed):
            self._outcomes[event.track] = event
        key: object = None
        match event:
            case Hello() | DeviceChosen():
                key = type(event)
            case ModelLoaded():
                key = event.model
            case Phase(track=None):
                key = event.name
            case _:
                pass
        if key is not None:
            if isinstance(event, Hello | Phase) and key in self._told:
                return
            if self._told.get(key) == event:
                return
            self._told[key] = event
        if Hello not in self._told and not isinstance(event, Phase):
            self._early.append(event)
            return
        yield event
        if isinstance(event, Hello):
            early, self._early = self._early, []
            yield from early

    def _translated(self, event: Event, unit: _Unit) -> Event:
        """Return an inner engine's event with the plan's number and addresses."""
        match event:
            case TrackFailed() | Warned():
                number = None if event.track is None else unit.index
                path = event.path and self._words(event.path, unit)
                message = self._words(event.message, unit)
                return replace(event, track=number, path=path, message=message)  # type: ignore[arg-type]
            case Progress():
                return replace(event, track=unit.index)
            case Phase(track=int()):
                return replace(event, track=unit.index)
            case _:
                return event

    def _words(self, text: str, unit: _Unit) -> str:
        for here, there in unit.texts():
            text = text.replace(here, there)
        return text


def _file_name(url: str) -> str:
    """Return a name that this disk takes, with the ending of the address."""
    return names.fitted(names.portable(storage.name(url)) or "track", STEM_BYTES)


def _rewrite(report: Path, plan: Plan, track: Track) -> None:
    """Note in a report of this disk which content of a store its stems are of."""
    new = report.with_name(f"{report.name}.new")
    new.write_bytes(remote.patched(report.read_bytes(), plan, track))
    new.replace(report)
