"""The native environment: planned, shown, made, checked, recorded; and taken away again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sep_launcher.machine import facts, paths
from sep_launcher.machine.host import Native
from sep_launcher.setup import golden, installers, torch_builds
from sep_launcher.setup.wheel import wheel_of_this
from sep_protocol.errors import NotReadyError, PathError, RuntimeFailedError
from sep_protocol.version import __version__

if TYPE_CHECKING:
    from sep_launcher.machine.host import Host
    from sep_launcher.setup.installers import Installer, Step
    from sep_launcher.show.render import Screen

TAIL = 6  # lines of a failed command that are shown
SPARE = 300  # MB for the other packages
GB = 1000  # MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the user asked of the native setup."""

    torch: str | None = None  # a build or version, against the table
    index: str | None = None  # instead of the table's
    conda: bool = False
    pip: bool = False
    wheelhouse: Path | None = None
    repair: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What has to be done; no steps where it is done already."""

    folder: Path
    build: torch_builds.Build
    reason: str  # for the build
    installer: Installer
    steps: tuple[Step, ...]
    offline: bool  # all of it comes from a wheelhouse


def plan(host: Host, wish: Wish) -> Work:
    """Return the work; writes this installation's wheel into the cache and nothing else."""
    choice = torch_builds.choose(host, wish.torch, wish.index)
    installer = installers.find(conda=wish.conda, pip=wish.pip)
    if wish.wheelhouse and not wish.wheelhouse.is_dir():
        raise PathError(f"there is no folder {wish.wheelhouse}")
    wheel = wheel_of_this(paths.cache() / "wheels")
    digest = hashlib.sha256(wheel.read_bytes() + choice.build.torch.encode()).hexdigest()[:8]
    folder = paths.environments() / f"{__version__}-{choice.build.name}-{digest}"
    made = facts.read().native
    there = made is not None and Path(made.python).exists()
    done = made is not None and there and Path(made.folder) in (folder, again(folder))
    if made is not None and done:
        # Made anew it is made elsewhere: what works stays until the new one does.
        other = again(folder) if Path(made.folder) == folder else folder
        folder = other if wish.repair else Path(made.folder)
    recipe = installers.Recipe(
        folder=folder,
        cache=paths.cache(),
        wheel=wheel,
        build=choice.build,
        wheelhouse=wish.wheelhouse.resolve() if wish.wheelhouse else None,
    )
    steps = () if done and not wish.repair else tuple(installers.steps(installer, recipe))
    return Work(
        folder=folder,
        build=choice.build,
        reason=choice.reason,
        installer=installer,
        steps=steps,
        offline=wish.wheelhouse is not None,
    )


def again(folder: Path) -> Path:
    """Return the other place of the two that an environment may have."""
    return folder.with_name(f"{folder.name}-again")


def described(work: Work) -> list[str]:
    """Return what people read before they say yes."""
    build = work.build
    fetched = f"fetches about {_size(build.fetched + SPARE // 3)}, then "
    if work.offline:
        fetched = ""
    return [
        f"a Python environment with PyTorch {build.torch} ({build.name}: {work.reason})",
        f"in {work.folder}, by {work.installer.name}",
        f"{fetched}takes {_size(build.installed + SPARE)} of disk",
        "then separates a clip of four seconds to see what works",
    ]


def carry_out(host: Host, work: Work, screen: Screen) -> None:
    """Make the environment, check it, record it; only then is the one before it taken away.

    Raises NotReadyError where a step fails; what was fetched by then is kept in a cache.
    """
    if work.steps:
        _check_space(work)
        facts.check()  # what cannot be noted need not be made
        # What an interrupted run left is no environment; the packages that it fetched are cached.
        _remove(work.folder)
        for number, step in enumerate(work.steps, 1):
            screen.say(f"{number}/{len(work.steps)} {step.what} ...")
            _run(step, screen)
    python = installers.python_in(work.folder, work.installer.kind)
    native = Native(python=str(python), source="setup")
    environment = facts.Environment(
        python=str(python),
        folder=str(work.folder),
        version=__version__,
        build=work.build.name,
        installer=work.installer.name,
    )
    try:
        check_and_record(host, native, screen, environment)
    except NotReadyError as fault:
        if work.steps:
            raise
        raise NotReadyError(fault.message, hint="run: sep setup --repair") from fault
    for other in paths.environments().iterdir():
        if other != work.folder:
            _remove(other)
    for done in ("pip", "wheels", "environment.yml"):
        _remove(paths.cache() / done)


def check_and_record(
    host: Host, native: Native, screen: Screen, environment: facts.Environment | None = None
) -> None:
    """Separate the golden clip and record what works, as the environment of setup if it is."""
    screen.say("checking it with a clip of four seconds ...")
    check, passed = golden.check(host, native, screen.log)
    known = facts.read().with_check(check)
    if environment:
        known = replace(known, native=environment)
    facts.write(known)
    device = passed.device
    screen.say(f"works: {passed.seconds:.1f} s on {device.device} ({device.name}), {device.torch}")
    if host.gpus and not check.cuda:
        screen.warn("the NVIDIA GPU cannot be used from this environment; --verbose says why")
    if host.apple_gpu and not check.mps:
        screen.warn("the Apple GPU cannot be used from this environment; --verbose says why")


def _run(step: Step, screen: Screen) -> None:
    """Run one command; what it prints is shown as it comes, or at the end if it fails."""
    screen.log(" ".join(step.command))
    shown = sys.stderr if screen.open else subprocess.PIPE
    try:
        process = subprocess.Popen(
            step.command,
            stdin=subprocess.DEVNULL,
            stdout=shown,
            stderr=sys.stderr if screen.open else subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**_plain_environment(), **dict(step.environment)},
        )
    except OSError as fault:
        message = f"{step.command[0]} cannot be started: {fault.strerror}"
        raise NotReadyError(message) from fault
    with process:
        try:
            output, _ = process.communicate()
        except BaseException:
            _end(process.pid)
            raise
    if process.returncode:
        told = _tail(output or "")
        for line in told:
            screen.say(f"     {line}", loud=True)
        raise NotReadyError(
            f"setting up {step.what} failed" + (f": {told[-1]}" if told else ""),
            hint="run sep setup again when it is mended; what was fetched is kept. "
            "Without a network: sep setup --wheelhouse DIR",
        )


def _plain_environment() -> dict[str, str]:
    """Return the environment without what turns another Python's head."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "PYTHONPATH")}


def _end(pid: int) -> None:
    """Kill a command and all that it has started: what lives on would write on."""
    import psutil  # noqa: PLC0415

    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        family = [*parent.children(recursive=True), parent]
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(family, timeout=5)


def _tail(told: str) -> list[str]:
    """Return the errors in what a command printed; where it names none, its last lines."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    return ([line for line in lines if line.lower().startswith("error")] or lines)[-TAIL:]


def _check_space(work: Work) -> None:
    place = next(each for each in (work.folder, *work.folder.parents) if each.exists())
    free = shutil.disk_usage(place).free >> 20
    needed = work.build.fetched + work.build.installed + SPARE
    if free < needed:
        raise NotReadyError(
            f"setup needs {_size(needed)} in {place}, {_size(free)} are free",
            hint=f"make room, or choose another place with {paths.HOME_VARIABLE}",
        )


def removable() -> list[Path]:
    """Return what setup and runs have left on this host, models aside."""
    places = [paths.environments(), paths.facts(), paths.lock()]
    cached = [paths.cache() / name for name in ("pip", "wheels", "jobs", "environment.yml")]
    partial = paths.data().glob(f"{paths.facts().name}.*.part")
    return [each for each in (*places, *cached, *partial) if each.exists()]


def remove(screen: Screen) -> None:
    """Take it all away; folders that are empty then, too."""
    for each in removable():
        screen.say(f"removing {each}")
        _remove(each)
    for folder in (paths.cache(), paths.models(), paths.data()):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _remove(path: Path) -> None:
    if not path.exists():
        return
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as fault:
        raise RuntimeFailedError(
            f"{fault.filename} cannot be removed: {fault.strerror}", hint="close what uses it"
        ) from fault


def _size(megabytes: int) -> str:
    return f"{megabytes / GB:.1f} GB" if megabytes >= GB else f"{megabytes} MB"
