"""`sep setup`: say what will be done, ask, do it. A run with nothing set up comes here, too."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from sep_launcher.engines import shells
from sep_launcher.machine import paths
from sep_launcher.machine.probe import probe
from sep_launcher.machine.stopping import alone, stoppable
from sep_launcher.planning import models, route
from sep_launcher.setup import (
    build,
    convert,
    image,
    importing,
    native,
    pull,
    removal,
    torch_builds,
    wheel,
)
from sep_protocol.errors import InterruptedJob, PathError, SepError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sep_launcher.machine.host import Host
    from sep_launcher.planning.route import Engine
    from sep_launcher.show.screen import Screen
    from sep_models import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One `sep setup`."""

    engine: Literal["auto", "native", "container"] = "auto"
    native: native.Wish = field(default_factory=native.Wish)
    image: image.Wish = field(default_factory=image.Wish)
    models: tuple[str, ...] = ()
    yes: bool = False
    offline: bool = False
    dry_run: bool = False


def setup(wanted: Wanted, screen: Screen) -> int:
    """Prepare this machine; return the exit code."""
    return _told(screen, lambda: _setup(wanted, screen))


def remove(screen: Screen, engine: str, *, yes: bool, dry_run: bool) -> int:
    """Take away what setup made; models stay, for they may be hard to get again."""

    def work() -> None:
        host = probe()
        files = removal.removable() if engine != "container" else []
        images = image.removable(host) if engine != "native" else []
        found = [*map(str, files), *images]
        _list(screen, "this will be removed:" if found else "nothing of setup is here", found)
        kept = paths.models()
        if kept.is_dir() and any(kept.iterdir()):
            screen.say(f"the models in {kept} are kept; delete that folder if you want")
        if found and not dry_run:
            _agree(screen, yes=yes)
            with alone(paths.lock(), lambda: screen.say(_WAIT)):
                if images:
                    image.remove(host, screen)
                if engine != "container":
                    removal.remove(screen)

    return _told(screen, work)


def pull_models(names: tuple[str, ...], screen: Screen, *, yes: bool) -> int:
    """Fetch models into an environment that is set up already; return the exit code."""

    def work() -> None:
        missing = _missing(Wanted(models=names))
        if not missing:
            screen.say("all of them are here already")
            for name in names:
                pull.tidy(models.known(name))
            return
        for manifest in missing:
            _list(screen, "this will be fetched:", pull.described(manifest))
        _agree(screen, yes=yes)
        with alone(paths.lock(), lambda: screen.say(_WAIT)):
            for manifest in missing:
                pull.pull(manifest, probe(), screen)

    return _told(screen, work)


def remove_models(names: tuple[str, ...], screen: Screen, *, yes: bool) -> int:
    """Take models away, fetched ones and the user's own; return the exit code."""

    def work() -> None:
        found = {each.name: each for each in map(models.known, names)}.values()
        _list(screen, "this will be removed:", [str(pull.removable(each)) for each in found])
        _agree(screen, yes=yes)
        with alone(paths.lock(), lambda: screen.say(_WAIT)):
            for manifest in found:
                pull.remove(manifest, screen)

    return _told(screen, work)


def import_model(wish: importing.Wish, screen: Screen) -> int:
    """Make a model of a file that is here; return the exit code."""

    def work() -> None:
        importing.take(wish, screen, lambda: screen.say(_WAIT))

    return _told(screen, work, again=f"{wish.file} is as it was, and nothing else is here")


def write_wheel(folder: Path, screen: Screen, torch: str | None, index: str | None) -> int:
    """Write this installation's wheel, and say how the rest of a wheelhouse comes beside it."""

    def work() -> None:
        made = wheel.wheel_of_this(folder)
        versions = build.write_constraints(folder)
        screen.command(str(made))
        chosen = torch_builds.choose(probe(), torch, index).build
        extras = build.EXTRAS["cuda" if chosen.cuda else "cpu"]
        line = ["python3", "-m", "pip", "download", "-d", str(folder), "-c", str(versions)]
        line += [f"{made}[{extras},ui]", chosen.requirement]
        line += ["--extra-index-url", chosen.index] if chosen.index else []
        screen.say("what it needs, for a machine without a network or an image there:")
        screen.say(f"  {shells.bash(line)}")

    return _told(screen, work)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """What a run lacks."""

    why: SepError  # that it cannot begin
    engine: Engine | None = None  # that is to be set up; None: it is
    models: tuple[Manifest, ...] = ()  # that are to be fetched


def offer(screen: Screen, lack: Lack, *, yes: bool, offline: bool) -> None:
    """Set up and fetch what a run lacks, if that is wanted; otherwise raise why it cannot run.

    What is to be done is told as a whole, and asked once.
    """
    why = lack.why
    if offline:
        raise why
    for manifest in lack.models:
        pull.check(manifest, offline=offline)
    if not (yes or screen.can_ask):
        raise type(why)(why.message, hint=f"{why.hint}, or add --yes to have it done now")
    if not yes:
        screen.say(f"sep: {why.message}")
    with stoppable(), alone(paths.lock(), lambda: screen.say(_WAIT)):
        host = probe()
        carry_out = _setting_up(lack, host, screen) if lack.engine else None
        for manifest in lack.models:
            _list(screen, "this will be fetched:", pull.described(manifest))
        if lack.models and (lack.engine == "container" or not carry_out):
            convert.check_ready(host)
        if not (yes or _asked(screen)):
            raise why
        if carry_out:
            carry_out()
        for manifest in lack.models:
            pull.pull(manifest, probe(), screen, for_run=True)


def _setting_up(lack: Lack, host: Host, screen: Screen) -> Callable[[], None]:
    """Say what will be set up for the engine; return what does it."""
    if lack.engine == "container":
        wish = image.Wish()
        made = image.plan(host, wish)
        _list(screen, "setting up:", image.described(made, wish))
        return lambda: image.carry_out(host, made, wish, screen)
    work = native.plan(host, native.Wish())
    _list(screen, "setting up:", native.described(work))
    return lambda: native.carry_out(host, work, screen)


_WAIT = "another sep setup is at work; waiting for it ..."


def _told(
    screen: Screen,
    work: Callable[[], None],
    again: str = "sep setup goes on with what it fetched",
) -> int:
    try:
        with stoppable():
            work()
    except SepError as fault:
        screen.fault(fault)
    except OSError as fault:  # a folder that may not be searched, a disk that is ill
        screen.fault(PathError(f"{fault.filename} cannot be used: {fault.strerror}"))
    except KeyboardInterrupt:
        screen.fault(InterruptedJob("interrupted", hint=again))
    return screen.close()


def _setup(wanted: Wanted, screen: Screen) -> None:
    missing = _missing(wanted)
    with alone(paths.lock(), lambda: screen.say(_WAIT)):
        host = probe()
        if _engine(wanted, host) == "container":
            _set_up_image(wanted, host, screen)
        else:
            _set_up_native(wanted, host, missing, screen)
        if wanted.dry_run:
            return
        for manifest in missing:
            pull.pull(manifest, probe(), screen)
    screen.say("ready: sep run drums.wav")


def _engine(wanted: Wanted, host: Host) -> str:
    """Return what to set up: what was asked for, or what a run would choose."""
    if wanted.engine != "auto":
        return wanted.engine
    if wanted.image != image.Wish(repair=wanted.image.repair):
        return "container"
    plain = native.Wish(repair=wanted.native.repair, offline=wanted.offline)
    if wanted.native != plain or wanted.models:
        return "native"
    return route.choose(host).engine


def _set_up_image(wanted: Wanted, host: Host, screen: Screen) -> None:
    if wanted.offline and not (wanted.image.wheelhouse or wanted.image.archive):
        raise UsageError("--offline needs what is here already", hint="--wheelhouse or --from-tar")
    work = image.plan(host, wanted.image)
    if work.done:
        screen.say(f"the image for {work.variant} is there already")
    else:
        _list(screen, "this will be set up:", image.described(work, wanted.image))
    if wanted.dry_run:
        return
    if not work.done:
        _agree(screen, yes=wanted.yes)
    image.carry_out(host, work, wanted.image, screen)


def _set_up_native(wanted: Wanted, host: Host, missing: list[Manifest], screen: Screen) -> None:
    work = None if _engineers(host, wanted.native) else native.plan(host, wanted.native)
    if wanted.offline and work and work.steps and not (wanted.native.wheelhouse or work.before):
        raise UsageError(
            "--offline needs packages that are here already", hint="--wheelhouse DIR has them"
        )
    _show(screen, work, missing, host)
    if wanted.dry_run:
        for step in work.steps if work else ():
            screen.command(shells.bash(step.command))
        return
    if missing or (work and work.steps):
        _agree(screen, yes=wanted.yes)
    if work:
        native.carry_out(host, work, screen)
    elif host.native:
        native.check_and_record(host, host.native, screen)


def _missing(wanted: Wanted) -> list[Manifest]:
    asked = [models.known(name) for name in wanted.models]
    missing = [manifest for manifest in asked if not pull.installed(manifest)]
    for manifest in missing:
        pull.check(manifest, offline=wanted.offline)
    return missing


def _engineers(host: Host, wish: native.Wish) -> bool:
    """Say whether there is an environment that is somebody's own: it is used, never touched."""
    if wish != native.Wish(repair=wish.repair, offline=wish.offline):
        return False  # what is asked for is an environment of sep's
    return host.native is not None and host.native.source != "setup"


def _show(screen: Screen, work: native.Work | None, missing: list[Manifest], host: Host) -> None:
    if work is None and host.native:
        whose = "SEP_RUNTIME_PYTHON" if host.native.source == "SEP_RUNTIME_PYTHON" else "its torch"
        screen.say(
            f"{host.native.python} is used for {whose}, and nothing will be installed into it"
        )
    elif work and work.steps:
        _list(screen, "this will be set up:", native.described(work))
    elif work:
        screen.say(f"the environment in {work.folder} is there already")
    for manifest in missing:
        _list(screen, "this will be fetched:", pull.described(manifest))


def _list(screen: Screen, head: str, found: list[str]) -> None:
    screen.say(head)
    for each in found:
        screen.say(f"  {each}")


def _agree(screen: Screen, *, yes: bool) -> None:
    if yes:
        return
    if not screen.can_ask:
        raise UsageError("nothing was done: nobody is here to ask", hint="--yes answers for you")
    if not _asked(screen):
        raise InterruptedJob("nothing was done")


def _asked(screen: Screen) -> bool:
    """Ask whether to go on; after a no nothing of the plan is left."""
    agreed = screen.ask("go on?")
    if not agreed:
        removal.take_away(paths.cache() / "wheels")
    return agreed
