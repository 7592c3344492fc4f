"""What stands below the options of a command. Indented lines are shown as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sep_models
from sep_launcher.machine import paths
from sep_launcher.planning import choice, models
from sep_protocol.errors import PathError

if TYPE_CHECKING:
    import click

SEP = """
Begin with:
  sep run drums.wav
  sep run song.mp3 --from-mix
  sep run --help

If anything goes wrong: sep doctor
"""

RUN = """
Examples:
  sep run drums.wav                  stems in separated/drums
  sep run drums.wav --stems kick,hh  only these two
  sep run album/ -o out --resume     a folder, or the rest of it
  sep run lib/ -j auto               several songs at once
  sep run lib/ --resume --shard 0/4  a quarter; three more runs
  sep run drums.wav --format flac --bit-depth 16
  sep run song.mp3 --from-mix        a song: parts of its drums
  sep run song.mp3 --from-mix htdemucs --keep-intermediate
  sep run drums.wav --model larsnet,mdx23c-mini --weights 2,1

{model}

{settings}
"""

UI = """
Examples:
  sep ui                             an empty page
  sep ui drums.wav album/            a page that begins with these
  sep ui --no-browser                only print its address

The page is for you alone: nothing leaves this computer.
Typed again, the page that is there is opened.
"""

SETUP = """
Examples:
  sep setup                          what a run needs here
  sep setup --model larsnet          and a model
  sep setup --engine container       Docker instead of Python
  sep setup --remove                 take it all away again

{settings}
"""

BENCH = """
Every combination of what is named is measured in a process of
its own. One that cannot be is told, and the others go on; the
exit code is 0 if every value that you named was measured.

Examples:
  sep bench                          all devices that are set up
  sep bench --device cpu --seconds 10
  sep bench --precision fp32,fp16 --batch 1,8 --overlap 1.25,2
  sep bench --report mine            a page and a file to send
  sep bench --compare mine theirs
  sep bench --profile --report why   which operators take the time

{settings}
"""

DOCTOR = """
The exit code is 0 if all is well or there are only warnings,
and 1 if there are errors.

Examples:
  sep doctor
  sep doctor --deep
  sep doctor --bundle report.json
"""

ROUTE = """
Examples:
  sep route
  sep route --device cuda

{settings}
"""

LIBRARY = """
Examples:
  sep run songs/ -o out --jobs auto  many tracks at once
  sep library status out             how far it is, from anywhere
"""

MODELS = """
Examples:
  sep models list
  sep models pull drumsep
  sep run drums.wav -m drumsep
  sep models pull htdemucs-ft-drums
  sep run song.mp3 --from-mix        its drums, then their parts
  sep models import my.ckpt --config my.yaml --name mine
  sep run drums.wav -m mine
  sep models verify                  what is here, read to its end
"""

COMPLETION = """
bash, in ~/.bashrc:
  eval "$(sep completion bash)"

zsh, in ~/.zshrc, after compinit:
  eval "$(sep completion zsh)"

fish:
  sep completion fish > ~/.config/fish/completions/sep.fish

PowerShell, in the file that $PROFILE names:
  sep completion powershell | Out-String | Invoke-Expression
"""


def filled(text: str, command: click.Command) -> str:
    """Return a text with what is true on this machine, found out without a probe."""
    for name, fact in (("{model}", _model), ("{settings}", _settings)):
        if name in text:
            text = text.replace(name, fact(command))
    return text


def _model(command: click.Command) -> str:
    del command
    try:
        manifest = models.default()
    except PathError:  # nobody's home: a run says so
        return ""
    if manifest is None:
        return "No drum model is installed: sep setup --repair"
    stems = [with_aliases(stem) for stem in manifest.stems]
    return (
        f"Without -m, {manifest.name} is taken. It expects {manifest.expects} and makes "
        f"{', '.join(stems)}. Others: sep models list\n\n{_for_songs()}"
    )


def _for_songs() -> str:
    manifest = models.for_songs()
    name = manifest.name if manifest else choice.SUGGESTED
    there = "" if manifest else ", once it is fetched: a run asks"
    return f"--from-mix alone takes the drums out of a song by {name}{there}."


def with_aliases(stem: str) -> str:
    """Return a stem's name and what else it may be called."""
    others = sep_models.aliases_of(stem)
    return f"{stem} (or {', '.join(others)})" if others else stem


def _settings(command: click.Command) -> str:
    variables = [str(each.envvar) for each in command.params if each.envvar]
    try:
        file = str(paths.settings())
    except PathError:
        file = "config.toml, once there is a home folder"
    named = f"variable{'s' if len(variables) > 1 else ''} {', '.join(variables)}"
    return f"Your own defaults (docs/settings.md says how): the {named}, or the file\n  {file}"
