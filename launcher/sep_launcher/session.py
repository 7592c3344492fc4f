"""A run from request to exit code: plan, check, start, follow, stop."""

from __future__ import annotations

from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sep_launcher.engines import IMAGE_SETUP, GpuRefusedError, job_files, native
from sep_launcher.machine import disk, storage
from sep_launcher.machine.awake import awake
from sep_launcher.machine.probe import probe
from sep_launcher.machine.stopping import deaf, pausable, stoppable
from sep_launcher.planning import choice, files, names, outputs, preview, remote
from sep_launcher.planning import plan as plans
from sep_launcher.planning import route as routes
from sep_launcher.planning.request import NO_MEMORY
from sep_protocol import DeviceChosen, Fallback, Hello, code
from sep_protocol.errors import (
    DeviceError,
    InterruptedJob,
    ModelError,
    NotReadyError,
    SepError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sep_launcher.engines import Engine
    from sep_launcher.planning.plan import Plan
    from sep_launcher.planning.request import Request
    from sep_launcher.show.render import Screen
    from sep_protocol import TrackDone, TrackFailed


def run(
    make: Callable[[], Request], screen: Screen, *, dry_run: bool, yes: bool, offline: bool
) -> int:
    """Separate what the request names; return the exit code."""

    def work() -> None:
        request = make()
        plan = _plan(request, screen)
        if dry_run:
            _dry_run(request, plan, screen)
            return
        before = _check_outputs(plan)
        if why := _not_ready(plan) or _not_here(request, plan):
            from sep_launcher.setup import command  # noqa: PLC0415 (most runs need none of it)

            lack = command.Lack(
                why=why,
                engine=plan.route.engine if _not_ready(plan) else None,
                models=plan.missing,
            )
            command.offer(screen, lack, yes=yes, offline=offline)
            plan = _plan(request, screen)
        screen.route(plan)
        check_ready(plan)
        if not_here := _not_here(request, plan):
            raise not_here
        with awake():
            try:
                with _around(plan, engine_of(plan, screen), before) as engine:
                    follow(plan, engine, screen)
            except GpuRefusedError as fault:
                if not request.fallback or request.wanted.device != "auto":
                    raise
                _fall_back(request, plan, fault, screen, before)

    return _told(work, screen)


def engine_of(plan: Plan, screen: Screen) -> Engine:
    """Return the engine that the plan is for; the screen gets what the runtime logs."""
    if plan.route.engine == "native":
        return native.NativeEngine(screen.log)
    from sep_launcher.engines.docker import container  # noqa: PLC0415 (other runs need none of it)

    return container.ContainerEngine(screen.log)


@contextmanager
def _around(
    plan: Plan, engine: Engine, before: Mapping[int, TrackDone | TrackFailed]
) -> Iterator[Engine]:
    """Give an engine for the addresses in a plan, around the one that knows paths alone."""
    if not plan.is_remote:
        yield engine
        return
    from sep_launcher.engines import staged, staging  # noqa: PLC0415 (most runs need none of it)

    with staging.held(plan.stage, plan.stage_limit) as room:
        yield staged.Staged(engine, room, before=before)


def _fall_back(
    request: Request,
    was: Plan,
    fault: GpuRefusedError,
    screen: Screen,
    over: Mapping[int, TrackDone | TrackFailed],
) -> None:
    """Do the run without what the engine refused, and say so. Nothing was done before."""
    plan = _plan(request, screen, gpu_refused=True)
    check_ready(plan)
    now = f"{plan.route.engine} {plan.route.device}"
    before = f"{was.route.engine} {was.route.device}"
    screen.event(Fallback(was=before, now=now, reason=fault.message))
    screen.say(f"       {fault.hint}", loud=True)
    screen.route(plan)
    with _around(plan, engine_of(plan, screen), over) as engine:
        follow(plan, engine, screen)


def _told(work: Callable[[], None], screen: Screen) -> int:
    try:
        work()
    except SepError as fault:
        screen.fault(fault)
    except KeyboardInterrupt:
        screen.fault(InterruptedJob("stopped before anything was done"))
    if screen.report.failures:
        from sep_launcher.doctor import look  # noqa: PLC0415 (most runs need none of it)

        screen.report.findings = look.behind(screen.report.failures)
    return screen.close()


def _plan(request: Request, screen: Screen, *, gpu_refused: bool = False) -> Plan:
    # What the command line and the machine tell comes before what is on the disk.
    chosen = choice.choose(request)
    choice.check(request, chosen)
    host = probe(ask_torch=request.wanted.kind == "cuda")
    if gpu_refused and host.docker:
        host = replace(host, docker=replace(host.docker, gpu=False))
    route = routes.choose(host, request.wanted)
    if route.engine == "native" and request.memory is not None:
        raise UsageError(NO_MEMORY, hint="leave out --memory, or --engine container")
    if route.engine == "native" and host.native:
        native.check_python(host.native.python)
    search = files.find(request.files, request.include)
    for each in search.warnings:
        screen.warn(each)
    return plans.plan(request, host, route, found=search.files, chosen=chosen)


def _check_outputs(plan: Plan) -> Mapping[int, TrackDone | TrackFailed]:
    """Raise PathError where stems are in the way, or none can be written.

    Returns what is known to be over before the run, by index: of tracks in object stores alone.
    """
    output = plan.job.output
    over = remote.before(plan) if plan.is_remote else {}
    mixes = [Path(track.shown) for track in plan.job.tracks]
    tracks = [track for track in plan.job.tracks if not storage.is_url(track.out)]
    own = [Path(track.out) for track in tracks if not track.shared]
    shared = [track for track in tracks if track.shared]
    outputs.check_outputs(own, mixes, overwrite=output.overwrite, resume=output.resume)
    outputs.check_shared(shared, plan.stems, mixes, output)
    return over


def check_ready(plan: Plan) -> None:
    """Raise NotReadyError unless what the route needs is set up."""
    if why := _not_ready(plan):
        raise why


def _not_ready(plan: Plan) -> NotReadyError | None:
    if plan.route.engine == "container":
        return None if plan.route.ready else _image_fault(plan)
    if plan.python is None:
        return NotReadyError("no Python environment with torch is set up", hint=native.SETUP)
    return None


def _not_here(request: Request, plan: Plan) -> ModelError | None:
    return choice.missing(request, plan.missing) if plan.missing else None


def _image_fault(plan: Plan) -> NotReadyError:
    """Return whether the image is missing or is of another sep."""
    from sep_launcher.engines.docker import images  # noqa: PLC0415 (other runs need none of it)

    try:
        images.check(plan)
    except NotReadyError as why:
        return why
    except SepError:
        pass  # the daemon went away: the image was not there before
    return NotReadyError(f"there is no image for {plan.route.device}", hint=IMAGE_SETUP)


def _dry_run(request: Request, plan: Plan, screen: Screen) -> None:
    """Say what a run would do. The command, and the Job's file that it needs, if somebody asks."""
    screen.route(plan)
    fault = None
    try:
        _check_outputs(plan)
    except SepError as why:
        fault = why
    screen.preview(preview.preview(plan), fault)
    check_ready(plan)
    if not_here := _not_here(request, plan):
        raise not_here
    if not screen.wants_command or plan.is_remote:  # one command fetches and stores nothing
        return
    if plan.route.engine == "container":
        from sep_launcher.engines.docker import container  # noqa: PLC0415

        job_file, line = container.shown(plan)
    else:
        job_file = job_files.kept(plan.job)
        line = native.shown(plan, job_file)
    screen.say(f"     the job file is kept: {job_file}")
    screen.command(line)


def follow(plan: Plan, engine: Engine, screen: Screen) -> None:
    """Show the events of a run; stop the runtime on Ctrl-C and its like, at once on a second."""
    missing = _missing(plan)

    def pause() -> None:
        screen.leave()
        engine.pause()

    with stoppable(), pausable(pause, engine.go_on):
        try:
            with closing(engine.start(plan)) as heard:
                told = False
                for event in heard:
                    screen.event(event)
                    told = told or isinstance(event, Fallback)
                    if isinstance(event, Hello):
                        _compare_code(plan, event, screen)
                    if isinstance(event, DeviceChosen) and not told:
                        _compare(plan, event, screen)
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
    if _is_left(plan):
        with deaf():
            _sweep(plan, screen)


def _is_left(plan: Plan) -> bool:
    """Say whether stems in the making are still there."""
    hidden = f"{names.HIDDEN}{plan.job.id}"
    return any(
        disk.exists(Path(each, f"{hidden}-{0 if plan.is_remote else number}"))
        for number, each in enumerate(_places(plan))
    )


def _places(plan: Plan) -> list[str]:
    """Return the folders of this disk that are written to, in the order of the tracks."""
    return [track.place() for track in plan.job.tracks if not storage.is_url(track.out)]


def _missing(plan: Plan) -> list[Path]:
    """Return the folders that the run has to make, the innermost first."""
    parents = {Path(each) for each in _places(plan)}
    found = {
        each for parent in parents for each in (parent, *parent.parents) if not disk.exists(each)
    }
    return sorted(found, key=lambda each: -len(each.parts))


def _sweep(plan: Plan, screen: Screen) -> None:
    """Clear away what a runtime that died could not; where that fails, too, the next run does."""
    folders = tuple(sorted(set(_places(plan))))
    there = tuple(each for each in folders if disk.is_dir(each))
    if there:
        engine = engine_of(plan, screen)
        with suppress(SepError):
            for _ in engine.start(replace(plan, job=replace(plan.job, tracks=(), sweep=there))):
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
    if plan.job.device != "auto":
        raise DeviceError(f"you asked for {plan.job.device}, the runtime took {event.device}")
    screen.warn(f"{plan.route.device} was expected, {event.device} is used: {event.reason}")
