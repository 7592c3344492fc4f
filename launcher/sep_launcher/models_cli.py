"""`sep models`: which there are, what they take and make, where they come from."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

import sep_models
from sep_launcher import options as o  # noqa: TC001 (typer reads it)
from sep_launcher.planning import models, own
from sep_launcher.show import layout, render
from sep_launcher.show.render import Screen, Style
from sep_launcher.show.report import SCHEMA
from sep_launcher.words import texts
from sep_launcher.words.pages import Contents, Page
from sep_protocol.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sep_models import Manifest

HEAD = {
    "drums": "for drums:",
    "a whole song": "for a whole song; its drums can then go to one of the above:",
}
COLUMNS = ("model", "stems", "here", "licence")
MORE = "sep models show MODEL has the details"

app = typer.Typer(
    cls=Contents,
    help="List, show and fetch models.",
    epilog=texts.MODELS,
    no_args_is_help=True,
)


@app.command("list", cls=Page)
def models_list(*, json_: o.Json = False) -> int:
    """List all models, the best first."""
    if json_:
        mine = [asdict(each) for each in own.every()]
        render.document({"schema": SCHEMA, "models": models.table(), "own": mine})
        return ExitCode.OK
    render.lines([*_table(sep_models.catalogue()), *_own(), "", MORE])
    return ExitCode.OK


@app.command("show", cls=Page)
def models_show(*, name: o.OneModel, json_: o.Json = False) -> int:
    """Show all that is known of a model."""
    if mine := own.find(name):
        facts = asdict(mine)
        told = [f"{name:<12}{value}" for name, value in facts.items() if value]
        render.document({"schema": SCHEMA, **facts}) if json_ else render.lines(told)
        return ExitCode.OK
    manifest = sep_models.find(name)
    if json_:
        render.document({"schema": SCHEMA, **models.row(manifest)})
        return ExitCode.OK
    render.lines(_details(manifest))
    return ExitCode.OK


@app.command("pull", cls=Page)
def models_pull(
    *,
    names: o.ModelNames,
    yes: o.Yes = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> int:
    """Fetch models, after showing their size and licence."""
    from sep_launcher.setup import command  # noqa: PLC0415 (runs need none of it)

    return command.pull_models(tuple(names), Screen(Style(quiet=quiet, verbose=verbose)), yes=yes)


@app.command("add", cls=Page)
def models_add(
    *,
    name: o.NewName,
    checkpoint: o.Checkpoint,
    settings: o.Settings = None,
    quiet: o.Quiet = False,
) -> int:
    """Give a checkpoint of your own a name."""
    own.add(models.named(name, checkpoint, settings), models.published())
    Screen(Style(quiet=quiet)).say(f"to use it: sep run drums.wav -m {name}")
    return ExitCode.OK


@app.command("remove", cls=Page)
def models_remove(*, names: o.ModelNames, yes: o.Yes = False, quiet: o.Quiet = False) -> int:
    """Take away fetched models, or the names of your own."""
    from sep_launcher.setup import command  # noqa: PLC0415 (runs need none of it)

    return command.remove_models(tuple(names), Screen(Style(quiet=quiet)), yes=yes)


def _table(catalogue: Iterable[Manifest]) -> list[str]:
    """Return a table within the terminal's width, in a part for each kind of mix."""
    rows = [(each.expects, _cells(each)) for each in catalogue]
    width = layout.columns(sys.stdout)
    widths = layout.fitted([COLUMNS, *(row for _, row in rows)], width)
    found = layout.lined(COLUMNS, widths)
    for kind, head in HEAD.items():
        found += ["", *layout.wrapped(head, width)]
        found += [line for its, row in rows if its == kind for line in layout.lined(row, widths)]
    return found


def _own() -> list[str]:
    found = [f"{each.name}  {each.checkpoint}" for each in own.every()]
    return ["", "your own:", *found] if found else []


def _cells(manifest: Manifest) -> tuple[str, ...]:
    size = models.size(manifest)
    if manifest == models.default():
        here = "default"
    elif models.folder(manifest):
        here = "yes"
    else:
        here = f"no, {_megabytes(size)}" if size else "no"
    return (manifest.name, " ".join(manifest.stems), here, manifest.licence.partition(";")[0])


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def _details(manifest: Manifest) -> list[str]:
    size, where = models.size(manifest), models.folder(manifest)
    facts = [
        ("also", ", ".join(manifest.aliases)),
        ("expects", manifest.expects),
        ("makes", ", ".join(texts.with_aliases(each) for each in manifest.stems)),
        ("size", _megabytes(size) if size else "not known"),
        ("here", f"yes, in {where}" if where else f"no: {models.how(manifest)}"),
        ("", "taken where no model is named" if manifest == models.default() else ""),
        ("licence", manifest.licence),
        ("scores", ", ".join(f"{stem} {score:g} dB" for stem, score in manifest.scores.items())),
        ("", f"SDR {manifest.scored}; other tests give other figures" if manifest.scores else ""),
    ]
    for source in manifest.sources:
        facts += [("file", source.file), ("", f"SHA-256 {source.sha256}")]
        facts += [("", url) for url in source.urls] or [("", "no address of it is known")]
    width = layout.columns(sys.stdout)
    shown = layout.table([each for each in facts if each[1]], width)
    return [manifest.name, *layout.wrapped(manifest.summary, width), "", *shown]
