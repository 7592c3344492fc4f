"""`sep library`: runs of many tracks, looked at from outside."""

from __future__ import annotations

import typer

from sep_launcher import options as o  # noqa: TC001 (typer reads it)
from sep_launcher.words import texts
from sep_launcher.words.pages import Contents, Page

app = typer.Typer(
    cls=Contents,
    help="Look at runs of many tracks at once.",
    epilog=texts.LIBRARY,
    no_args_is_help=True,
)


@app.callback()
def _library() -> None:
    """Keep `status` a command of its own, though it is the only one."""


@app.command("status", cls=Page)
def library_status(*, folder: o.RunFolder, json_: o.Json = False) -> int:
    """Show how far runs are that write into a folder, and what failed, from any machine."""
    from sep_launcher.library import command  # noqa: PLC0415 (other commands need none of it)

    return command.status(folder, as_json=json_)
