"""What a shell offers at a press of Tab. Nothing is probed: it has to be there at once.

The parser's own completion is used, not typer's: that one knows no files beside names.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click
from click import shell_completion
from click.shell_completion import CompletionItem, add_completion_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

VARIABLE = "_SEP_COMPLETE"  # set by the scripts: a shell is asking, not a person
SHELLS = ("bash", "zsh", "fish", "powershell")


class Offered(click.ParamType):  # type: ignore[type-arg, unused-ignore] # click 8.4 has them
    """A text for which a shell offers names, and files where none of them fits."""

    def __init__(
        self,
        name: str,
        offered: Callable[[], Iterable[str]] = tuple,
        *,
        files: bool = False,
        separator: str = "",
    ) -> None:
        self.name = name
        self._offered = offered
        self._files = files
        self._separator = separator

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ANN401 (the parser's)
        """Return the text. A `~` that no shell has filled in is the home folder of files."""
        del param, ctx
        if not self._files:
            return value
        each = value.split(self._separator) if self._separator else [value]
        return self._separator.join(map(os.path.expanduser, each))

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return what may follow."""
        del ctx, param
        done, comma, begun = "", "", incomplete
        if self._separator:
            done, comma, begun = incomplete.rpartition(self._separator)
        had = done.split(self._separator) if done else []
        names = [each for each in self._offered() if each.startswith(begun) and each not in had]
        if names:
            return [CompletionItem(f"{done}{comma}{each}") for each in names]
        return [CompletionItem(incomplete, type="file")] if self._files else []


class Listed(Offered):
    """Many texts with commas between them, of which a variable holds all."""

    envvar_list_splitter = "\0"  # in no variable: it is parted where the command line is

    def __init__(
        self, name: str, offered: Callable[[], Iterable[str]], *, files: bool = False
    ) -> None:
        super().__init__(name, offered, files=files, separator=",")


class _Fish(shell_completion.FishComplete):
    """The parser's script splits at commas, and texts have some."""

    def format_completion(self, item: CompletionItem) -> str:
        """Return a line of what is offered and what it is."""
        return super().format_completion(item).replace(", ", "; ")


class _PowerShell(shell_completion.ShellComplete):
    """PowerShell offers files itself where it is given nothing."""

    name = "powershell"
    source_template = """\
Register-ArgumentCompleter -Native -CommandName %(prog_name)s -ScriptBlock {
    param($word, $line, $cursor)
    $env:COMP_WORDS = $line.ToString()
    $env:COMP_WORD = $word
    $env:%(complete_var)s = 'powershell_complete'
    try {
        & %(prog_name)s | Where-Object { $_ } | ForEach-Object {
            $value, $help = $_ -split "`t", 2
            $kind = 'System.Management.Automation.CompletionResult'
            New-Object $kind $value, $value, 'ParameterValue', $help
        }
    } finally {
        Remove-Item 'Env:COMP_WORDS', 'Env:COMP_WORD', 'Env:%(complete_var)s'
    }
}
"""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one that is begun, and that one."""
        words = shell_completion.split_arg_string(os.environ.get("COMP_WORDS", ""))[1:]
        begun = os.environ.get("COMP_WORD", "")
        return (words[:-1] if begun and words else words), begun

    def format_completion(self, item: CompletionItem) -> str:
        """Return a line of what is offered and what it is."""
        return "" if item.type != "plain" else f"{item.value}\t{item.help or item.value}"


def answer(app: click.Command, instruction: str) -> int:
    """Give a shell the script, or what it asks for by the script; return the exit code."""
    for each in (_Fish, _PowerShell):
        add_completion_class(each)
    arguments: dict[str, Any] = {}
    return shell_completion.shell_complete(app, arguments, "sep", VARIABLE, instruction)
