"""A file of weights that is on this disk becomes a model with a name; then it is needed no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sep_models
from sep_launcher.machine import paths
from sep_launcher.machine.probe import probe
from sep_launcher.machine.stopping import alone
from sep_launcher.planning import models, own
from sep_launcher.setup import convert, pull
from sep_protocol import Install, Model, Published
from sep_protocol.errors import RuntimeFailedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sep_launcher.show.screen import Screen
    from sep_models import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One `sep models import`."""

    file: Path
    settings: Path | None = None  # its YAML
    name: str | None = None  # None: the catalogue's, or one made of the file's
    overwrite: bool = False  # whether it may take the place of an own one of that name


def take(wish: Wish, screen: Screen, wait: Callable[[], None]) -> None:
    """Convert the file to a model; `wait` is called where another setup has to end before.

    A file that the catalogue knows by its hash becomes that model. Raises PathError for a file
    that cannot be read or a disk that cannot be written, UsageError for a name that is taken or
    settings that are missing, ModelError for what is no checkpoint that sep runs.
    """
    models.check_readable(wish.file, wish.settings)
    if wish.name is not None:
        _check_free(wish.name, wish, known=False)
    screen.say(f"reading {wish.file} ...")
    sha256 = models.digest(wish.file)
    known = sep_models.of_file(sha256)
    if known is None:
        _check_alone(sha256, wish.file)
    with alone(paths.lock(), wait):
        if known:
            _known(known, wish, screen)
        else:
            _own(sha256, wish, screen)


def _known(manifest: Manifest, wish: Wish, screen: Screen) -> None:
    if wish.name not in (None, manifest.name, *manifest.aliases):
        raise UsageError(
            f"{wish.file.name} is {manifest.name} of sep's catalogue, and keeps that name",
            hint="leave out --name",
        )
    pull.check_name(manifest)
    if wish.settings:
        screen.say(f"{manifest.name} is known: its settings are not needed, and not read")
    if pull.installed(manifest):
        screen.say(f"{manifest.name} is here already")
        return
    host = probe()
    convert.check_ready(host)
    pull.take(manifest, (Published(file=str(wish.file.resolve())),), host, screen)
    screen.say(_not_needed(wish))


def _own(sha256: str, wish: Wish, screen: Screen) -> None:
    name = wish.name or own.suggested(wish.file)
    own.settle(name)
    _check_free(name, wish)
    host = probe()
    convert.check_ready(host)
    model = Model(
        name=name,
        checkpoint=str(wish.file.resolve()),
        settings=str(wish.settings.resolve()) if wish.settings else None,
        sha256=sha256,
    )
    with convert.staged(name) as staged:
        convert.convert(model, Install(files=(), folder=str(staged)), host, screen)
        own.put(staged, name)
    manifest = own.find(name)
    if manifest is None:
        raise RuntimeFailedError(f"{name} was converted, and what it is cannot be read")
    screen.say(f"{name} expects {manifest.expects} and makes {', '.join(manifest.stems)}")
    screen.say(_not_needed(wish))
    screen.say(pull.use(manifest, None))


def _check_free(name: str, wish: Wish, *, known: bool = True) -> None:
    """Raise UsageError for a name that the file cannot have.

    A name of the catalogue may be the file's own, which is not `known` yet.
    """
    taken = models.published()
    if not known and name in taken:
        return
    own.check(name, taken)
    if own.place(name) and not wish.overwrite:
        raise UsageError(
            f"there is a model of yours called {name!r} already",
            hint="--overwrite puts this one in its place, --name NAME beside it",
        )


def _check_alone(sha256: str, file: Path) -> None:
    """Raise UsageError for a file that is one of several of a model."""
    for manifest in sep_models.catalogue():
        if sha256 in (source.sha256 for source in manifest.sources):
            raise UsageError(
                f"{file.name} is one of {len(manifest.sources)} files of {manifest.name}",
                hint=f"sep models pull {manifest.name}",
            )


def _not_needed(wish: Wish) -> str:
    return f"{wish.file} is not needed any more"
