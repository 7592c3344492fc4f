"""A plan with its engine: its events are followed to their end, what it leaves is cleared away."""

from __future__ import annotations

import os
import sys
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sep_launcher.engines import IMAGE_SETUP, Many, native
from sep_launcher.engines.serving import Serving
from sep_launcher.machine import disk, storage
from sep_launcher.machine.stopping import deaf, pausable, stoppable
from sep_launcher.planning import finished, names
from sep_protocol import DeviceChosen, Done, Fallback, Hello, TrackFailed, code
from sep_protocol.errors import DeviceError, InterruptedJob, SepError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from sep_launcher.engines import Engine
    from sep_launcher.engines.staging import Staging
    from sep_launcher.planning.plan import Plan
    from sep_launcher.planning.workers import Worker
    from sep_launcher.show.screen import Screen
    from sep_protocol import Track, TrackDone

    Over = Mapping[int, TrackDone | TrackFailed]


@contextmanager
def staging_of(plan: Plan) -> Iterator[Staging | None]:
    """Give the room for mixes and stems of object stores; None where a plan has none of them."""
    if not plan.is_remote:
        yield None
        return
    from sep_launcher.engines import staging  # noqa: PLC0415 (most runs need none of it)

    with staging.held(plan.stage, plan.stage_limit) as room:
        yield room


def engine_of(plan: Plan, screen: Screen, room: Staging | None = None) -> Engine:
    """Return the engine that the plan is for; the screen gets what the runtime logs."""
    if room is not None:
        # Each track is a Job there, so a runtime is kept between them, where that can be.
        native_way = plan.route.engine == "native"
        inner = Serving(screen.log) if native_way else engine_of(plan, screen)
        return _staged(inner, room)
    if plan.route.engine == "native":
        return native.NativeEngine(screen.log)
    from sep_launcher.engines.docker import container  # noqa: PLC0415 (other runs need none of it)

    return container.ContainerEngine(screen.log)


def keeper_of(
    plan: Plan,
    screen: Screen,
    room: Staging | None,
    worker: Worker,
    may: Callable[[str, int], bool],
) -> Engine:
    """Return the engine of one of many workers; `may` tells whether it may still store a track."""

    def log(line: str) -> None:
        screen.log(f"{worker.name}: {line}")

    if worker.route.engine == "native":
        return Serving(log) if room is None else _staged(Serving(log), room, may)
    from sep_launcher.engines.docker import container, serving  # noqa: PLC0415 (as above)

    if room is None:
        return serving.ServingContainer(plan, log)
    return _staged(container.ContainerEngine(log), room, may)  # what it mounts is not known before


def _staged(
    inner: Engine, room: Staging, may: Callable[[str, int], bool] = lambda *_: True
) -> Engine:
    from sep_launcher.engines import staged  # noqa: PLC0415 (most runs need none of it)

    return staged.Staged(inner, room, may_commit=may)


def tell(over: Over, screen: Screen) -> None:
    """Show the tracks that need no runtime; where these are all, that is the end."""
    for event in over.values():
        if event.track not in screen.report.tracks:
            screen.event(event)
    if len(over) == len(screen.report.plan.job.tracks if screen.report.plan else ()):
        failed = sum(isinstance(each, TrackFailed) for each in over.values())
        screen.event(Done(done=len(over) - failed, failed=failed, seconds=0.0))


def follow(
    plan: Plan,
    engine: Engine,
    screen: Screen,
    over: Over | None = None,
) -> None:
    """Show the events of a run; stop the runtime on Ctrl-C and its like, at once on a second.

    The runtime does not hear of the tracks that are `over`.
    """
    over = over or {}
    failed = sum(isinstance(each, TrackFailed) for each in over.values())
    left = finished.left(plan, over)
    plan = finished.part(plan, left)
    missing = _missing(plan)

    def pause() -> None:
        screen.leave()
        engine.pause()

    with stoppable(), pausable(pause, engine.go_on):
        try:
            with closing(engine.start(plan)) as heard:
                told = False
                for heard_event in heard:
                    event = finished.renumbered(heard_event, left)
                    if isinstance(event, Done):
                        done = event.done + len(over) - failed
                        event = replace(event, done=done, failed=event.failed + failed)
                    screen.event(event, engine.by)
                    told = told or isinstance(event, Fallback)
                    here = replace(plan, route=engine.by.worker.route) if engine.by else plan
                    if plan.elsewhere:
                        continue  # each node compares for itself
                    if isinstance(event, Hello):
                        _compare_code(here, event, screen)
                    if isinstance(event, DeviceChosen) and not told:
                        _compare(here, event, screen)
        except KeyboardInterrupt:
            screen.stopping()
            screen.fault(InterruptedJob("interrupted", hint=_go_on(plan)))
        finally:
            _stop(plan, engine, screen)
            for folder in missing:
                with suppress(OSError):  # it is kept where something was written
                    folder.rmdir()


def _stop(plan: Plan, engine: Engine, screen: Screen) -> None:
    """End the runtime, on a second Ctrl-C at once; what it could not clear away is swept."""
    try:
        engine.stop()
    except KeyboardInterrupt:
        engine.kill()
    jobs = engine.begun if isinstance(engine, Many) else [plan.job]
    ids = [job.id for job in jobs]
    places = left_over([track for job in jobs for track in job.tracks], ids) if ids else []
    if places:
        with deaf():
            sweep(plan, places, screen, ids)


def left_over(tracks: Iterable[Track], ids: Collection[str] = ()) -> list[str]:
    """Return the folders in which there are stems in the making, of these jobs or of any."""
    begins = tuple(f"{names.HIDDEN}{each}-" for each in ids) or names.HIDDEN
    found = []
    for place in sorted(_places(tracks)):
        with suppress(OSError), os.scandir(place) as entries:
            work = (each.name for each in entries if names.is_work(each.name))
            if any(each.startswith(begins) for each in work):
                found.append(place)
    return found


def _places(tracks: Iterable[Track]) -> set[str]:
    """Return the folders of this disk that are written to."""
    return {track.place() for track in tracks if not storage.is_url(track.out)}


def _missing(plan: Plan) -> list[Path]:
    """Return the folders that the run has to make, the innermost first."""
    parents = {Path(each) for each in _places(plan.job.tracks)}
    every = {each for parent in parents for each in (parent, *parent.parents)}
    found = [each for each in every if not disk.exists(each)]
    return sorted(found, key=lambda each: -len(each.parts))


def sweep(plan: Plan, places: Sequence[str], screen: Screen, ids: Sequence[str] = ()) -> None:
    """Clear away what runtimes that died could not; where that fails, too, the next run does.

    What the jobs of these ids left is cleared away whatever machine it was.
    """
    if not places:
        return
    if plan.elsewhere:  # any Python that has this sep can: it needs no torch
        plan = replace(plan, python=sys.executable)
    engine = engine_of(plan, screen)
    over = replace(plan.job, tracks=(), sweep=tuple(places), of=tuple(ids))
    with suppress(SepError):
        for _ in engine.start(replace(plan, job=over)):
            pass
    engine.stop()


def _go_on(plan: Plan) -> str:
    return "" if plan.job.bench else "whole tracks are kept; --resume goes on with the others"


def _compare_code(plan: Plan, event: Hello, screen: Screen) -> None:
    """Tell when the runtime is of the same version and not the same: an update, a checkout."""
    ours = code.digest()
    if not (ours and event.code) or event.code == ours:
        return
    who, hint = str(plan.python), native.SETUP if plan.isolated else native.mend()
    if plan.route.engine == "container":
        who, hint = f"the image for {plan.route.device}", IMAGE_SETUP
    screen.warn(f"{who} has other code than this sep, though both are {event.version}", hint)


def _compare(plan: Plan, event: DeviceChosen, screen: Screen) -> None:
    """Tell when the runtime uses another device than the route promised."""
    real = event.device.partition(":")[0]
    if real == plan.route.device:
        return
    if event.requested != "auto":
        raise DeviceError(f"you asked for {event.requested}, the runtime took {event.device}")
    screen.warn(f"{plan.route.device} was expected, {event.device} is used: {event.reason}")
