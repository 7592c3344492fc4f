"""The native environment: planned, shown, made, checked, recorded; and taken away again."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sep_launcher.machine import facts, paths
from sep_launcher.machine.host import Native
from sep_launcher.setup import golden, installers, removal, running, torch_builds, update
from sep_launcher.setup.wheel import wheel_of_this
from sep_protocol.errors import NotReadyError, PathError
from sep_protocol.version import __version__

if TYPE_CHECKING:
    from sep_launcher.machine.host import Host
    from sep_launcher.setup.installers import Installer, Step
    from sep_launcher.show.screen import Screen

SPARE = 300  # MB for the other packages
GB = 1000  # MB
INSIDE = "env"  # the environment, in its marked folder: conda makes its prefix itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the user asked of the native setup."""

    torch: str | None = None  # a build or version, against the table
    index: str | None = None  # instead of the table's
    conda: bool = False
    pip: bool = False
    wheelhouse: Path | None = None
    offline: bool = False
    repair: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What has to be done; no steps where it is done already."""

    folder: Path  # marked as ours; the environment is in it
    build: torch_builds.Build
    reason: str  # for the build
    installer: Installer
    steps: tuple[Step, ...]
    before: Path | None = None  # an environment whose packages come along
    offline: bool  # nothing is fetched


def plan(host: Host, wish: Wish) -> Work:
    """Return the work; writes this installation's wheel into the cache and nothing else."""
    index = wish.index
    if index and index != torch_builds.DEFAULT:
        index = running.absolute(index)  # it may be a folder, and pip works in another one
    choice = torch_builds.choose(host, wish.torch, index)
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
    before = None if done or wish.repair else _before(made, choice.build, installer)
    recipe = installers.Recipe(
        folder=folder / INSIDE,
        cache=paths.cache(),
        wheel=wheel,
        build=choice.build,
        wheelhouse=wish.wheelhouse.resolve() if wish.wheelhouse else None,
        offline=wish.offline,
        before=before,
    )
    steps = () if done and not wish.repair else tuple(installers.steps(installer, recipe))
    return Work(
        folder=folder,
        build=choice.build,
        reason=choice.reason,
        installer=installer,
        steps=steps,
        before=before,
        offline=wish.offline or wish.wheelhouse is not None,
    )


def _before(
    made: facts.Environment | None, build: torch_builds.Build, installer: Installer
) -> Path | None:
    """Return the environment that a new one can take its packages from; conda's are no such."""
    if made is None or installer.kind == "conda" or made.installer in installers.CONDAS:
        return None
    found = Path(made.folder) / INSIDE
    usable = update.usable(found, installers.version(), build, installer.kind)
    return found if usable else None


def again(folder: Path) -> Path:
    """Return the other place of the two that an environment may have."""
    return folder.with_name(f"{folder.name}-again")


def described(work: Work) -> list[str]:
    """Return what people read before they say yes."""
    build = work.build
    fetched = f"fetches about {_size(build.fetched + SPARE // 3)}, then "
    if work.offline:
        fetched = ""
    costs = f"{fetched}takes {_size(build.installed + SPARE)} of disk"
    if work.before:
        costs = "PyTorch and what else stays the same is taken from the one before"
    return [
        f"a Python environment with PyTorch {build.torch} ({build.name}: {work.reason})",
        f"in {work.folder}, by {work.installer.name}",
        costs,
        "then separates a clip of four seconds to see what works",
    ]


def carry_out(host: Host, work: Work, screen: Screen) -> None:
    """Make the environment, check it, record it; only then is the one before it taken away.

    Raises NotReadyError where a step fails; what was fetched by then is kept in a cache.
    """
    if work.steps:
        _check_space(work)
        facts.check()  # what cannot be noted need not be made
        _begin(work.folder)
        for number, step in enumerate(work.steps, 1):
            screen.say(f"{number}/{len(work.steps)} {step.what} ...")
            running.run(step, work.folder, screen)
            if work.before and number == 1:
                update.copy(work.before, work.folder / INSIDE, installers.version())
    python = installers.python_in(work.folder / INSIDE, work.installer.kind)
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
    for other in removal.environments():
        if other != work.folder:
            removal.take_away(other)
    for done in ("pip", "wheels", "environment.yml"):
        removal.take_away(paths.cache() / done)


def _begin(folder: Path) -> None:
    """Make the folder of an environment, where the installer works, too.

    What an interrupted run left there is no environment; the packages that it fetched are cached.
    """
    removal.clear(folder)
    try:
        paths.mark(folder)
        # uv looks for its settings in every folder above; it stops at the first that has some.
        (folder / "uv.toml").touch()
    except OSError as fault:
        raise PathError(f"{folder} cannot be made: {fault.strerror}") from fault


def check_and_record(
    host: Host, native: Native, screen: Screen, environment: facts.Environment | None = None
) -> None:
    """Separate the golden clip and record what works, as the environment of setup if it is."""
    facts.check()
    places = ", on the GPU and on the CPU" if host.gpus or host.apple_gpu else ""
    screen.say(f"checking it with a clip of four seconds{places} ...")
    check, passed = golden.check(host, native, screen.log)
    known = facts.read().with_check(check)
    if environment:
        known = replace(known, native=environment)
    facts.write(known)
    device = passed.device
    screen.say(f"works: {passed.seconds:.1f} s on {device.device} ({device.name}), {device.torch}")
    for line in golden.told(check.snr):
        screen.say(f"  {line}")
    screen.say(f"its Python: {native.python}")
    if host.gpus and not check.cuda:
        screen.warn("the NVIDIA GPU cannot be used from this environment; --verbose says why")
    if host.apple_gpu and not check.mps:
        screen.warn("the Apple GPU cannot be used from this environment; --verbose says why")


def _check_space(work: Work) -> None:
    place = next(each for each in (work.folder, *work.folder.parents) if each.exists())
    free = shutil.disk_usage(place).free >> 20
    needed = SPARE if work.before else work.build.fetched + work.build.installed + SPARE
    if free < needed:
        raise NotReadyError(
            f"setup needs {_size(needed)} in {place}, {_size(free)} are free",
            hint=f"make room, or choose another place with {paths.HOME_VARIABLE}",
        )


def _size(megabytes: int) -> str:
    return f"{megabytes / GB:.1f} GB" if megabytes >= GB else f"{megabytes} MB"
