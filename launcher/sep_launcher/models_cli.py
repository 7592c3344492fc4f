"""`sep models`: which there are, what they take and make, where they come from, what is here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

import sep_models
from sep_launcher import options as o  # noqa: TC001 (typer reads it)
from sep_launcher.planning import models, own
from sep_launcher.show import layout, render
from sep_launcher.show.render import Style, Terminal
from sep_launcher.show.report import SCHEMA
from sep_launcher.words import texts
from sep_launcher.words.pages import Contents, Page
from sep_protocol.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sep_models import Manifest, Source

HEAD = {
    "drums": "for drums:",
    "a whole song": "for a whole song; one with drums can go before one of the above: --from-mix",
}
OWN = "your own:"
COLUMNS = ("model", "stems", "here", "licence")
MORE = "sep models info MODEL has the details"
LIST_SCHEMA = 2  # of the list: in 1 the own models were names of files
WHOLE, BY_LENGTH = "whole", "whole by its length; nobody noted its SHA-256"

app = typer.Typer(
    cls=Contents,
    help="List, show, fetch, import and check models.",
    epilog=texts.MODELS,
    no_args_is_help=True,
)


@app.command("list", cls=Page)
def models_list(*, json_: o.Json = False) -> int:
    """List all models, the best first."""
    if json_:
        mine = [models.row(each) for each in own.every()]
        render.document({"schema": LIST_SCHEMA, "models": models.table(), "own": mine})
        return ExitCode.OK
    render.lines([*_table(sep_models.catalogue(), own.every()), "", MORE])
    return ExitCode.OK


@app.command("info", cls=Page)
def models_info(*, name: o.OneModel, json_: o.Json = False) -> int:
    """Show all that is known of a model."""
    manifest = models.known(name)
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

    return command.pull_models(tuple(names), Terminal(Style(quiet=quiet, verbose=verbose)), yes=yes)


@app.command("import", cls=Page)
def models_import(
    *,
    checkpoint: o.Checkpoint,
    config: o.Settings = None,
    name: o.NewName = None,
    overwrite: o.Replace = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> int:
    """Make a model of a file of weights that you have; then the file is needed no more.

    One that sep knows by its hash becomes that model; any other gets a name.
    """
    from sep_launcher.setup import command, importing  # noqa: PLC0415 (runs need none of it)

    wish = importing.Wish(file=checkpoint, settings=config, name=name, overwrite=overwrite)
    return command.import_model(wish, Terminal(Style(quiet=quiet, verbose=verbose)))


@app.command("verify", cls=Page)
def models_verify(*, names: o.SomeModels = None, json_: o.Json = False) -> int:
    """Read the weights that are here, and compare them with what they were when they came."""
    asked = {each.name: each for each in map(models.known, names or ())} if names else None
    found = [models.verified(each) for each in (asked.values() if asked else models.present())]
    if json_:
        render.document({"schema": SCHEMA, "models": found})
    else:
        width = layout.columns(sys.stdout)
        render.lines(layout.table([(str(each["name"]), _verdict(each)) for each in found], width))
    return ExitCode.MODEL if any(each["fault"] for each in found) else ExitCode.OK


@app.command("path", cls=Page)
def models_path(*, name: o.OneModel) -> int:
    """Print where the weights of a model are."""
    path = str(models.here(models.known(name)) / sep_models.WEIGHTS)
    render.lines([path], whole=path)
    return ExitCode.OK


@app.command("remove", cls=Page)
def models_remove(*, names: o.ModelNames, yes: o.Yes = False, quiet: o.Quiet = False) -> int:
    """Take away models that were fetched or imported."""
    from sep_launcher.setup import command  # noqa: PLC0415 (runs need none of it)

    return command.remove_models(tuple(names), Terminal(Style(quiet=quiet)), yes=yes)


def _table(catalogue: Iterable[Manifest], mine: Iterable[Manifest] = ()) -> list[str]:
    """Return a table within the terminal's width, in a part for each kind of mix."""
    rows = [(HEAD[each.expects], _cells(each)) for each in catalogue]
    rows += [(OWN, _cells(each)) for each in mine]
    width = layout.columns(sys.stdout)
    widths = layout.fitted([COLUMNS, *(row for _, row in rows)], width)
    found = layout.lined(COLUMNS, widths)
    for head in (*HEAD.values(), OWN):
        lines = [line for its, row in rows if its == head for line in layout.lined(row, widths)]
        found += ["", *layout.wrapped(head, width), *lines] if lines else []
    return found


def _cells(manifest: Manifest) -> tuple[str, ...]:
    size = models.size(manifest)
    if manifest == models.default():
        here = "default"
    elif models.folder(manifest):
        here = "yes"
    else:
        here = f"no, {models.megabytes(size)}" if size else "no"
    return (manifest.name, " ".join(manifest.stems), here, manifest.licence.partition(";")[0])


def _verdict(found: dict[str, object]) -> str:
    if not found["fault"]:
        return WHOLE if found["sha256"] else BY_LENGTH
    manifest = models.known(str(found["name"]))
    return f"damaged: {found['fault']}; to mend it: {models.mend(manifest)}"


def _details(manifest: Manifest) -> list[str]:
    size, where = models.size(manifest), models.folder(manifest)
    makes = [texts.with_aliases(each) for each in manifest.stems]
    if manifest.rest:
        makes[-1] += f", the mix minus {', '.join(manifest.outputs)}"
    facts = [
        ("also", ", ".join(manifest.aliases)),
        ("expects", manifest.expects),
        ("makes", ", ".join(makes)),
        ("network", manifest.architecture),
        ("size", models.megabytes(size) if size else "not known"),
        ("here", f"yes, in {where}" if where else f"no: {models.how(manifest)}"),
        ("", f"since {manifest.imported}, when it was imported" if manifest.imported else ""),
        ("", "taken where no model is named" if manifest == models.default() else ""),
        ("licence", manifest.licence),
        ("", f"so says: {manifest.licence_source}" if not manifest.imported else ""),
        ("", f"read there: {manifest.licence_date}" if not manifest.imported else ""),
        ("scores", ", ".join(f"{stem} {score:g} dB" for stem, score in manifest.scores.items())),
        ("", f"SDR {manifest.scored}; other tests give other figures" if manifest.scores else ""),
    ]
    for source in manifest.sources:
        facts += _of_file(source, imported=manifest.imported is not None)
    width = layout.columns(sys.stdout)
    shown = layout.table([each for each in facts if each[1]], width)
    return [manifest.name, *layout.wrapped(manifest.summary, width), "", *shown]


def _of_file(source: Source, *, imported: bool) -> Iterator[tuple[str, str]]:
    """Yield rows about a file; one that a user brought has no address, and needs none."""
    yield "file", source.file
    yield "", f"{source.bytes:,} bytes" if source.bytes else ""
    yield "", f"SHA-256 {source.sha256}"
    yield "", f"MD5 of its last 10,240,000 bytes {source.tail}" if source.tail else ""
    yield from (("", url) for url in source.urls)
    if source.urls:
        yield "", f"last fetched: {source.tried}" if source.tried else "never tried by us"
    elif not imported:
        yield "", "no address of it is known"
