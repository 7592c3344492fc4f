"""Models of others onto this host: fetched or imported, proved by hash, converted once."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import sep_models
from sep_launcher.machine import facts, paths
from sep_launcher.planning import models, own
from sep_launcher.setup import convert, removal
from sep_launcher.setup.fetch import fetch
from sep_protocol import Install, Model, Published
from sep_protocol.errors import ModelError, PathError, RuntimeFailedError, UsageError

if TYPE_CHECKING:
    from sep_launcher.machine.host import Host
    from sep_launcher.show.screen import Screen
    from sep_models import Manifest


HOW = "to use it:"  # begins the line that says so


def described(manifest: Manifest) -> list[str]:
    """Return what people read before they say yes."""
    size = sum(source.bytes or 0 for source in manifest.sources)
    known = f"{size / 1e6:.0f} MB" if size else "of a size that its author does not say"
    lines = [
        f"the model {manifest.name}, {known}",
        f"it splits {manifest.expects} into {', '.join(manifest.stems)}",
        f"licence: {manifest.licence}",
        f"so says: {manifest.licence_source}",
    ]
    for source in manifest.sources:
        lines += [f"{source.file} ({source.sha256[:12]}...) from {url}" for url in source.urls[:1]]
    return [*lines, f"into {paths.models() / manifest.name}"]


def installed(manifest: Manifest) -> bool:
    """Say whether it is here and whole."""
    folder = models.folder(manifest)
    if folder is None:
        return False
    return not models.fault(manifest, folder / sep_models.WEIGHTS, hashed=True)


def check_name(manifest: Manifest) -> None:
    """Raise UsageError where a user's own model has the name: sep came to know it later."""
    if not manifest.imported and own.find(manifest.name):
        raise UsageError(
            f"a model of yours is called {manifest.name}",
            hint=f"sep models remove {manifest.name}, and import it under another name",
        )


def check(manifest: Manifest, *, offline: bool) -> None:
    """Raise ModelError where the model cannot be fetched, UsageError where its name is taken."""
    check_name(manifest)
    if offline:
        raise ModelError(f"{manifest.name} is not here and --offline forbids fetching it")
    for source in manifest.sources:
        if not source.urls:
            raise ModelError(
                f"no address of {source.file} is known",
                hint=f"{models.by_hand(source)} (its SHA-256 is {source.sha256})",
            )


def pull(manifest: Manifest, host: Host, screen: Screen, *, for_run: bool = False) -> None:
    """Fetch and convert a model; what was fetched is kept until the weights are whole.

    The caller holds the lock of setup; `for_run`: it uses the model now, so nobody need be told
    how that is done. Raises NotReadyError without an environment, ModelError
    where the files cannot be had, PathError where something cannot be written.
    """
    if installed(manifest):  # by another one, while this one waited
        screen.say(f"{manifest.name} is here already")
        tidy(manifest)
        return
    convert.check_ready(host)
    files = []
    for source in manifest.sources:
        target = _fetched(manifest) / f"{source.sha256[:16]}{Path(source.file).suffix}"
        fetch(source, target, screen)
        files.append(Published(file=str(target), stem=source.stem))
    take(manifest, tuple(files), host, screen, for_run=for_run)


def take(
    manifest: Manifest,
    files: tuple[Published, ...],
    host: Host,
    screen: Screen,
    *,
    for_run: bool = False,
) -> None:
    """Convert the published files of a model of the catalogue, and say how it is used.

    The caller holds the lock of setup; `for_run` and what is raised are those of `pull`.
    """
    before = models.default()
    with convert.staged(manifest.name) as staged:
        order = Install(files=files, folder=str(staged))
        convert.convert(Model(name=manifest.name), order, host, screen)
        target = paths.models() / manifest.name
        made = staged / sep_models.WEIGHTS
        try:
            noted = facts.Converted(model=manifest.name, sha256=models.digest(made))
            facts.write(facts.read().with_weights(noted))
            target.mkdir(parents=True, exist_ok=True)
            made.replace(target / sep_models.WEIGHTS)
        except OSError as fault:
            raise PathError(f"{target} cannot be written: {fault.strerror}") from fault
    tidy(manifest)
    told = use(manifest, before)
    if not (for_run and told.startswith(HOW)):
        screen.say(told)


def removable(manifest: Manifest) -> Path:
    """Return the file of weights that came here; raise ModelError where there is none."""
    folder = models.folder(manifest)
    if folder is None:
        raise ModelError(f"the model {manifest.name} is not here", hint="sep models list")
    if folder == sep_models.folder_of(manifest.name):
        raise ModelError(f"the model {manifest.name} is a part of sep", hint="it stays")
    return folder / sep_models.WEIGHTS


def remove(manifest: Manifest, screen: Screen) -> None:
    """Take a model away; says so where another one is the default then."""
    if manifest.imported:
        own.remove(manifest.name)
        return
    before, path = models.default(), removable(manifest)
    removal.take_away(path)
    with contextlib.suppress(OSError):  # something of others is in it
        path.parent.rmdir()
    now = models.default()
    if now and now != before:
        screen.say(f"{now.name} is now the default")


def use(manifest: Manifest, before: Manifest | None) -> str:
    """Return how a model is used that is here now; a default never changes without a word."""
    now = models.default()
    if now and manifest.name == now.name and now != before:
        whose = "the bundled one" if before and before.bundled else "the one of before"
        other = f"; sep run drums.wav -m {before.name} takes {whose}" if before else ""
        return f"{manifest.name} is now the default{other}"
    if manifest.expects == "drums":
        return f"{HOW} sep run drums.wav -m {manifest.name}"
    told = f"{HOW} sep run song.wav -m {manifest.name}"
    if models.takes_drums(manifest):
        told += f"; with --from-mix {manifest.name} the parts of its drums"
    return told


def _fetched(manifest: Manifest) -> Path:
    return paths.cache() / "models" / manifest.name


def tidy(manifest: Manifest) -> None:
    """Take away what was fetched for a model that is here, and what killed conversions left."""
    with contextlib.suppress(RuntimeFailedError):  # the model is here all the same
        for each in (_fetched(manifest), *removal.unfinished(manifest.name)):
            removal.take_away(each)
    with contextlib.suppress(OSError):  # another model's files are there
        _fetched(manifest).parent.rmdir()
