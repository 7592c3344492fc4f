"""A run from request to exit code: plan, check, start, follow, stop."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sep_launcher import following
from sep_launcher.engines import IMAGE_SETUP, GpuRefusedError, job_files, native
from sep_launcher.machine import disk, storage
from sep_launcher.machine.awake import awake
from sep_launcher.machine.probe import probe
from sep_launcher.planning import (
    choice,
    files,
    finished,
    identity,
    names,
    outputs,
    preview,
    remote,
)
from sep_launcher.planning import plan as plans
from sep_launcher.planning import route as routes
from sep_launcher.planning.request import NO_MEMORY
from sep_protocol import Fallback, TrackFailed
from sep_protocol.errors import (
    InterruptedJob,
    ModelError,
    NotReadyError,
    SepError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sep_launcher.engines import Engine
    from sep_launcher.engines.staging import Staging
    from sep_launcher.planning.plan import Plan
    from sep_launcher.planning.request import Request
    from sep_launcher.planning.shards import Shard
    from sep_launcher.show.screen import Screen
    from sep_protocol import TrackDone

    Over = Mapping[int, TrackDone | TrackFailed]
    Engines = Callable[[Plan, Screen, Staging | None], Engine]


def run(
    make: Callable[[], Request],
    screen: Screen,
    *,
    dry_run: bool,
    yes: bool,
    offline: bool,
    engines: Engines | None = None,
) -> int:
    """Separate what the request names; return the exit code.

    `engines` gives the engine of a plan to who conducts many runs; such a run notes nothing of
    libraries. Without it a run has an engine of its own.
    """

    def work() -> None:
        request = make()
        if engines is None:
            request = replace(request, noted=_is_noted(request))
        plan = _plan(request, screen)
        if request.shard:
            screen.say(_shard(request.shard, plan))
            if not plan.job.tracks:
                return
        if dry_run:
            _dry_run(request, plan, screen)
            return
        _check_outputs(plan)
        over = _over(plan)
        if len(over) == len(plan.job.tracks):
            screen.route(plan)
            following.tell(over, screen)
            if plan.workers or request.cluster:
                from sep_launcher import sharing  # noqa: PLC0415 (most runs need none of it)

                sharing.note(request, plan, over, screen)
            return
        if why := _not_ready(plan) or _not_here(request, plan):
            _offer(why, plan, screen, yes=yes, offline=offline)
            plan = _plan(request, screen)
            over = _over(plan)
        _begin(request, plan, over, screen, engines or following.engine_of)

    return _told(work, screen)


def _offer(why: SepError, plan: Plan, screen: Screen, *, yes: bool, offline: bool) -> None:
    """Offer to set up, and to fetch, what the plan lacks; raise `why` where that is not wanted."""
    from sep_launcher.setup import command  # noqa: PLC0415 (most runs need none of it)

    engine = plan.route.engine if _not_ready(plan) else None
    lack = command.Lack(why=why, engine=engine, models=plan.missing)
    command.offer(screen, lack, yes=yes, offline=offline)


def _begin(request: Request, plan: Plan, over: Over, screen: Screen, engines: Engines) -> None:
    """Do what is left of a plan, for which all should be ready."""
    check_ready(plan)
    if not_here := _not_here(request, plan):
        raise not_here
    with awake():
        if request.cluster:
            from sep_launcher import sharing  # noqa: PLC0415 (most runs need none of it)

            sharing.on_cluster(request, plan, over, screen)
            return
        try:
            _separate(request, plan, over, screen, engines)
        except GpuRefusedError as fault:
            if not request.fallback or request.wanted.device != "auto":
                raise
            plan = _without_gpu(request, plan, screen, fault)
            _separate(request, plan, {**over, **screen.report.tracks}, screen, engines)


def _separate(request: Request, plan: Plan, over: Over, screen: Screen, engines: Engines) -> None:
    """Do what is left of the plan on this machine, by one runtime, or by many that share it."""
    with following.staging_of(plan) as room:
        if plan.workers:
            from sep_launcher import sharing  # noqa: PLC0415 (most runs need none of it)

            make = partial(following.keeper_of, plan, screen, room)
            sharing.share(request, plan, over, screen, make)
            return
        screen.route(plan)
        following.tell(over, screen)
        following.follow(plan, engines(plan, screen, room), screen, over)


def _without_gpu(request: Request, was: Plan, screen: Screen, fault: GpuRefusedError) -> Plan:
    """Return the plan without what the engine refused, and say so."""
    plan = _plan(request, screen, gpu_refused=True)
    plan = replace(plan, job=replace(plan.job, tracks=was.job.tracks))  # as they were numbered
    check_ready(plan)
    now = f"{plan.route.engine} {plan.route.device}"
    before = f"{was.route.engine} {was.route.device}"
    screen.event(Fallback(was=before, now=now, reason=fault.message))
    screen.say(f"       {fault.hint}", loud=True)
    return plan


def _is_noted(request: Request) -> bool:
    """Say whether this goes on with a run of many tracks, which says there how it is.

    A store is not asked.
    """
    known = request.output.resume and not storage.is_url(str(request.out))
    return known and disk.is_dir(Path(request.out, names.NOTES))


def _shard(shard: Shard, plan: Plan) -> str:
    """Return what a run has of all files."""
    whole = len(plan.mixes)
    files = f"{whole} track{'s' * (whole != 1)}"
    return f"shard {shard}: {len(plan.job.tracks) or 'none'} of {files}"


def _over(plan: Plan) -> Over:
    """Return the tracks that need no runtime, by their indices: what is done, what never will be.

    Raises PathError where stems are in the way in a store.
    """
    found = {**finished.look(plan), **(remote.before(plan) if plan.is_remote else {})}
    return dict(sorted(found.items()))


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
    route = routes.ELSEWHERE if request.cluster else routes.choose(host, request.wanted)
    if route.engine == "native" and request.memory is not None:
        raise UsageError(NO_MEMORY, hint="leave out --memory, or --engine container")
    if route.engine == "native" and host.native and not request.cluster:
        native.check_python(host.native.python)
    search = files.find(request.files, request.include)
    for each in search.warnings:
        screen.warn(each)
    plan = plans.plan(request, host, route, found=search.files, chosen=chosen)
    told = identity.identity(request, chosen, plan.stems)
    return replace(plan, job=replace(plan.job, identity=told))


def _check_outputs(plan: Plan) -> None:
    """Raise PathError where stems are in the way, or none can be written."""
    output = plan.job.output
    tracks = [track for track in plan.job.tracks if not storage.is_url(track.out)]
    mixes = [Path(each) for each in plan.mixes]
    own = [Path(track.out) for track in tracks if not track.shared]
    shared = [track for track in tracks if track.shared]
    outputs.check_outputs(own, mixes, overwrite=output.overwrite, resume=output.resume)
    outputs.check_shared(shared, plan.stems, mixes, output)


def check_ready(plan: Plan) -> None:
    """Raise NotReadyError unless what the route needs is set up."""
    if why := _not_ready(plan):
        raise why


def _not_ready(plan: Plan) -> NotReadyError | None:
    if plan.elsewhere:
        return None
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
    if request.cluster:
        screen.say("     the Ray cluster is not asked how many workers it has room for")
    if plan.workers or request.cluster:
        from sep_launcher.library import survey  # noqa: PLC0415 (most runs need none of it)

        found = survey.look(plan, finished.look(plan))
        screen.say(found.text)
        if found.doubt:
            screen.warn(found.doubt)
        fault = fault or found.fault
    screen.preview(preview.preview(plan), fault)
    check_ready(plan)
    if not_here := _not_here(request, plan):
        raise not_here
    # One command fetches and stores nothing, and reaches no other machine.
    if not screen.wants_command or plan.is_remote or request.cluster:
        return
    if plan.route.engine == "container":
        from sep_launcher.engines.docker import container  # noqa: PLC0415

        job_file, line = container.shown(plan)
    else:
        job_file = job_files.kept(plan.job)
        line = native.shown(plan, job_file)
    screen.say(f"     the job file is kept: {job_file}")
    screen.command(line)
