"""Help as plain text: options in sections, whole sentences, examples to type."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import click
from typer.core import TyperCommand, TyperGroup

from sep_launcher.show.render import Style, Terminal
from sep_launcher.words import settings, slips, texts
from sep_protocol.errors import ExitCode

HELP = ("-h", "--help")
FINE = (None, ExitCode.OK, ExitCode.TRACK_FAILED, ExitCode.INTERRUPTED)
WIDE = 70  # columns from which on there is room for long options beside their texts
Rows = list[tuple[str, str]]


class Page(TyperCommand):
    """A command whose options come in sections: `rich_help_panel` has their names."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401 (the parser's)
    ) -> click.Context:
        """Begin to parse, with the user's own defaults below what was typed."""
        quiet = extra.get("resilient_parsing") or set(HELP) & set(args)
        if info_name in settings.TABLES and not quiet:
            extra["default_map"] = settings.defaults(self, info_name)
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 (the parser's)
        """Do it; where a value was not typed, that is told if asked for, or if it may be why."""
        verbose = bool(ctx.params.get("verbose"))
        if verbose:
            _say(settings.used(ctx))
        code: Any = ExitCode.BUG
        try:
            code = super().invoke(ctx)
        finally:
            if not verbose and code not in FINE:
                _say(settings.used(ctx))
        return code

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections."""
        _write(formatter, _sections(self, ctx))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples and what else there is to know."""
        _write_text(formatter, texts.filled(self.epilog or "", ctx.command))


class Contents(TyperGroup):
    """A group of commands, each with its whole first sentence."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, then the options."""
        commands = [(name, self.commands[name]) for name in self.list_commands(ctx)]
        shown = [(name, each.get_short_help_str(limit=200)) for name, each in commands]
        _write(formatter, {"Commands": shown, **_sections(self, ctx)})

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        _write_text(formatter, texts.filled(self.epilog or "", ctx.command))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command; raise UsageError with what may have been meant."""
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise slips.unknown(args, ctx.command_path, self.list_commands(ctx))
        return super().resolve_command(ctx, args)


def _say(told: list[str]) -> None:
    for each in told:
        Terminal(Style()).say(f"     {each}")


def _sections(command: click.Command, ctx: click.Context) -> dict[str, Rows]:
    """Return rows of option and text by section: the command's own before those of many."""
    found: dict[str, Rows] = {"Arguments": [], "Options": []}
    for param in command.params:
        usual = "Arguments" if isinstance(param, click.Argument) else "Options"
        section = getattr(param, "rich_help_panel", None) or usual
        if row := _row(param, ctx):
            found.setdefault(section, []).append(row)
    last = [rows for rows in found.values() if rows] or [found["Options"]]
    last[-1].append((", ".join(HELP), "Show this help."))
    return found


def _row(param: click.Parameter, ctx: click.Context) -> tuple[str, str] | None:
    if isinstance(param, click.Argument):
        return param.make_metavar(ctx), getattr(param, "help", None) or ""
    if isinstance(param, click.Option) and param.is_flag and param.secondary_opts:
        # Only what changes something: the other one takes back what a file of settings says.
        told = param.secondary_opts if param.default else param.opts
        return ", ".join(sorted(told, key=len)), param.help or ""
    return param.get_help_record(ctx)


def _write(formatter: click.HelpFormatter, sections: dict[str, Rows]) -> None:
    """Write sections with their texts in one column."""
    first = [row[0] for rows in sections.values() for row in rows]
    most = 27 if formatter.width >= WIDE else 17
    column = max((len(each) for each in first if len(each) <= most), default=0)
    for name, rows in sections.items():
        if rows:
            with formatter.section(name):
                formatter.write_dl([(a.ljust(column), b) for a, b in rows], col_max=column)


def _write_text(formatter: click.HelpFormatter, text: str) -> None:
    """Write paragraphs within the width; indented lines, which can be typed, as they are."""
    for typed, lines in groupby(text.rstrip().splitlines(), lambda line: line[:1] in ("", " ")):
        if typed:
            formatter.write("".join(f"{line}\n" for line in lines))
        else:
            formatter.write_text(" ".join(lines))
