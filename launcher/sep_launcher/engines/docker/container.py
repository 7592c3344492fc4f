"""The runtime in a locked-down container: same Job, same Events, paths translated both ways."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from sep_launcher.engines import (
    IMAGE_SETUP,
    UNSEEN,
    UNSEEN_HINT,
    GpuRefusedError,
    Spec,
    job_files,
)
from sep_launcher.engines.docker import docker_run, frames, images, orphans, translate
from sep_launcher.engines.listener import Listener
from sep_launcher.machine import disk
from sep_protocol import TrackDone, TrackFailed
from sep_protocol.errors import (
    EngineError,
    MemoryLimitError,
    NotReadyError,
    PathError,
    RuntimeFailedError,
    SepError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from sep_launcher.engines.docker.daemon import Attached, Daemon, State
    from sep_launcher.planning.plan import Plan
    from sep_protocol import Event

STOP_SECONDS = 5
ROOT = "0:0"  # in a rootless engine it is the user outside, and nobody else is
KILLED = 137  # 128 + SIGKILL
ALONE = "the container may go on by itself; the next run removes it"
DESKTOP_MEMORY = "Docker Desktop: Settings, Resources, Memory"


@dataclass(slots=True)
class _Run:
    """What has to be taken away again."""

    daemon: Daemon
    container: str = ""
    attached: Attached | None = None
    stopped: bool = False  # by us


class ContainerEngine:
    """An Engine; `log` is called with every line that the runtime writes to its stderr.

    `image` names one by its digest, instead of the one for the route's device.
    """

    def __init__(self, log: Callable[[str], None] | None = None, image: str = "") -> None:
        self._log = log
        self._image = image
        self._run: _Run | None = None

    def ready(self) -> str:
        """Return the name of this machine: it waits for nobody."""
        return platform.node()

    @property
    def by(self) -> None:
        """One runtime says all."""

    def start(self, plan: Plan) -> Generator[Event, None, None]:
        """Yield the runtime's events; container, Job and empty folders are gone afterwards."""
        run = self._begin(plan)
        image = self._image or images.find(run.daemon, plan.route.device).id
        orphans.sweep(run.daemon)
        mapping = mapping_of(plan)
        made = make_outs(mapping)
        try:
            with job_files.held(mapping.job(plan.job)) as job_file:
                try:
                    launch(run, spec_of(plan, mapping, image, job_file, run.daemon))
                    yield from self._follow(run, plan, mapping)
                finally:
                    self.stop()
        finally:  # whatever a second Ctrl-C cuts short
            for folder in reversed(made):
                with contextlib.suppress(OSError):  # it is kept where something was written
                    folder.rmdir()

    def _begin(self, plan: Plan) -> _Run:
        """Connect to the daemon."""
        from sep_launcher.engines.docker.daemon import Daemon  # noqa: PLC0415 (it takes 0.2 s)

        self._run = run = _Run(Daemon(plan.endpoint))
        return run

    def _follow(self, run: _Run, plan: Plan, mapping: translate.Mapping) -> Iterator[Event]:
        who = f"the image for {plan.route.device}"
        listener = Listener(plan.job, who, IMAGE_SETUP, self._log, mapping.to_host)
        with contextlib.closing(frames.lines(run.attached)) as lines:
            for is_out, line in lines:
                if not is_out:
                    listener.log(line)
                elif (event := listener.event(line)) is not None:
                    yield seen_here(event)
        if not run.stopped:
            ended(run, listener)

    def stop(self) -> None:
        """Stop the container, gently first, and remove it."""
        run = self._run
        if run is None or not run.container:
            return
        if not run.stopped:
            run.stopped = True
            with contextlib.suppress(SepError):
                run.daemon.stop(run.container, STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Remove the container, whatever it does, and hang up."""
        run, self._run = self._run, None
        if run is None or not run.container:
            return
        with contextlib.suppress(SepError):
            run.daemon.remove(run.container)
        if run.attached:
            with contextlib.suppress(OSError):
                run.attached.close()
        run.daemon.close()

    def pause(self) -> None:
        """Do nothing: a frozen container would outlive a launcher that never goes on."""

    def go_on(self) -> None:
        """Do nothing."""


def ended(run: _Run, listener: Listener) -> None:
    """Raise what the end of a container means, if it is not what its last word promised."""
    try:
        state = run.daemon.wait(run.container)
    except EngineError as fault:
        if listener.finished:
            return  # the work is done, whatever became of the daemon since
        raise EngineError(fault.message, hint=ALONE) from fault
    if not listener.finished:
        raise vanished(state, listener)
    listener.check_end(state.code)


def seen_here(event: Event) -> Event:
    """Return the event, told by its cause where the daemon has other folders below our paths.

    Raises EngineError where stems were written that are not here.
    """
    unseen = f"{UNSEEN}: "
    if isinstance(event, TrackDone) and not disk.is_dir(event.out):
        raise EngineError(f"{unseen}{event.out} was written, and not here", hint=UNSEEN_HINT)
    if isinstance(event, TrackFailed) and event.path and disk.exists(event.path):
        missing = f"there is no file {event.path}"
        if event.message == missing:
            return replace(event, message=unseen + missing, hint=UNSEEN_HINT)
    return event


def mapping_of(plan: Plan) -> translate.Mapping:
    """Return the mounts of a plan; its links are followed on this host."""
    return translate.mapping(plan.job, PurePath().__class__, os.path.realpath)


def make_outs(mapping: translate.Mapping) -> list[Path]:
    """Make the folders that are written to, as the user, and return those that were not there."""
    made: list[Path] = []
    for bind in mapping.binds:
        if not bind.writable:
            continue
        folder = Path(bind.source)
        missing = [each for each in (folder, *folder.parents) if not disk.exists(each)]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise PathError(f"{bind.host} cannot be made: {fault.strerror}") from fault
        made += reversed(missing)
    return made


def spec_of(
    plan: Plan, mapping: translate.Mapping, image: str, job_file: Path | None, daemon: Daemon
) -> Spec:
    """Return the container for a plan; without a file of a Job it serves."""
    binds = [(bind.source, str(bind.inside), bind.writable) for bind in mapping.binds]
    if job_file:
        binds.append((str(job_file.parent), str(translate.JOB), False))
    owner = owner_of(rootless=daemon.rootless, desktop=daemon.desktop)
    return Spec(
        image=image,
        command=("--watch-stdin", translate.JOB_FILE) if job_file else ("--serve",),
        binds=tuple(binds),
        environment=plan.environment,
        labels=orphans.labels(plan.job.id),
        user=owner,
        groups=tuple(os.getgroups()) if owner and not daemon.rootless else (),
        gpu=plan.route.device == "cuda",
        memory=plan.memory,
    )


def owner_of(*, rootless: bool, desktop: bool) -> str | None:
    """Return the user that owns what a container writes; None where the engine maps all of them."""
    if desktop or sys.platform == "win32":
        return None
    if rootless:
        return ROOT
    return f"{os.getuid()}:{os.getgid()}"


def launch(run: _Run, spec: Spec) -> None:
    """Create, attach, start; a daemon that does not know one way to the GPU is asked the other."""
    try:
        _start(run, spec, cdi=False)
    except GpuRefusedError as usual:
        try:
            _start(run, spec, cdi=True)
        except SepError:
            # The usual way's reason is the one that can be mended.
            raise usual from None


def _start(run: _Run, spec: Spec, *, cdi: bool) -> None:
    run.container = run.daemon.create(spec, cdi=cdi)
    try:
        run.attached = run.daemon.attach(run.container)
        run.daemon.start(run.container)
    except SepError:
        if run.attached:
            run.attached.close()
        run.daemon.remove(run.container)
        run.container = ""
        raise


def vanished(state: State, listener: Listener) -> SepError:
    """Return the error for a container that ended without a last word."""
    tail = listener.last_words
    if state.out_of_memory:
        limit = f": its limit is {state.memory / 2**30:.1f} GiB" if state.memory else ""
        more = "--memory raises the limit" if state.memory else DESKTOP_MEMORY
        return MemoryLimitError(
            f"the container ran out of memory{limit}", hint=f"--batch 1 needs less; {more}"
        )
    if not listener.said_hello and "No module named" in tail:
        return NotReadyError(f"the image cannot run sep: {tail}", hint=IMAGE_SETUP)
    if state.code == KILLED:
        return RuntimeFailedError(
            "the runtime was ended by signal 9 without a last word" + (f": {tail}" if tail else ""),
            hint="the system may have run out of memory; --batch 1 needs less",
        )
    if not listener.said_hello and not tail:
        return EngineError(f"the container ended with code {state.code} before it said a word")
    message = f"the runtime ended with code {state.code} without a last word"
    return RuntimeFailedError(message + (f": {tail}" if tail else ""), hint="run with --verbose")


def shown(plan: Plan) -> tuple[Path, str]:
    """Keep a Job file; return it and the line to paste into this system's shell."""
    from sep_launcher.engines.docker.daemon import Daemon  # noqa: PLC0415

    daemon = Daemon(plan.endpoint)
    try:
        image = images.find(daemon, plan.route.device).id
        mapping = mapping_of(plan)
        job_file = job_files.kept(mapping.job(plan.job))
        spec = spec_of(plan, mapping, image, job_file, daemon)
    finally:
        daemon.close()
    outs = [bind.source for bind in mapping.binds if bind.writable]
    line = docker_run.in_powershell if sys.platform == "win32" else docker_run.in_bash
    return job_file, line(spec, outs)
