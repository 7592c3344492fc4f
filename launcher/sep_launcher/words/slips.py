"""Words that people type because another tool, or another place, takes them: what to type here."""

from __future__ import annotations

import os
import re
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import sep_models
from sep_launcher.engines import shells
from sep_launcher.machine import disk
from sep_launcher.planning import files
from sep_launcher.words import settings
from sep_models.stems import canonical
from sep_protocol.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

WINDOWS = sys.platform == "win32"
INSTALLER = (
    r"powershell -ExecutionPolicy Bypass -File installers\install.ps1"
    if WINDOWS
    else "sh installers/install.sh"
)
UPDATE = f"in the folder of sep's clone: git pull, then {INSTALLER}"
UNINSTALL = (
    f"in the folder of sep's clone: {INSTALLER} {'-Uninstall' if WINDOWS else '--uninstall'}"
)
RUN = "sep run drums.wav"

# What stands where a command should.
COMMANDS = {
    **dict.fromkeys(("update", "upgrade", "self-update"), UPDATE),
    **dict.fromkeys(("uninstall", "remove"), UNINSTALL),
    **dict.fromkeys(("install", "init"), "sep setup, or for a model: sep models pull NAME"),
    **dict.fromkeys(("list", "ls", "model"), "sep models list"),
    **dict.fromkeys(("pull", "download", "fetch", "get"), "sep models pull NAME"),
    **dict.fromkeys(("show", "info"), "sep models info NAME, or for this machine: sep doctor"),
    **dict.fromkeys(("import", "add"), "sep models import FILE"),
    "verify": "sep models verify",
    **dict.fromkeys(("separate", "split", "demix", "process", "stems"), RUN),
    **dict.fromkeys(("check", "diagnose", "status", "env", "test"), "sep doctor"),
    **dict.fromkeys(("benchmark", "speed"), "sep bench"),
    **dict.fromkeys(("device", "devices", "gpu"), "sep route"),
    **dict.fromkeys(("config", "settings"), "sep run --help says where the file of settings is"),
    **dict.fromkeys(("complete", "completions"), "sep completion bash, zsh, fish or powershell"),
    "version": "sep --version",
}
MODEL_COMMANDS = {
    **dict.fromkeys(("ls", "all"), "sep models list"),
    **dict.fromkeys(("install", "download", "fetch", "get"), "sep models pull NAME"),
    **dict.fromkeys(("show", "describe"), "sep models info NAME"),
    **dict.fromkeys(("add", "load", "convert"), "sep models import FILE"),
    **dict.fromkeys(("check", "validate"), "sep models verify NAME"),
    **dict.fromkeys(("where", "which"), "sep models path NAME"),
    **dict.fromkeys(("delete", "rm", "uninstall"), "sep models remove NAME"),
}
# Options of demucs, audio-separator, spleeter and their like.
OPTIONS = {
    **dict.fromkeys(("--output", "--output-dir", "--output_dir", "--outdir"), "-o FOLDER"),
    **dict.fromkeys(("--model_name", "--model_filename", "--model-name", "-n"), "-m NAME"),
    **dict.fromkeys(("--output_format", "--output-format", "--codec"), "--format flac"),
    **dict.fromkeys(("--mp3", "--flac", "--wav"), "--format {name}"),
    **dict.fromkeys(("--int24", "--int16"), "--bit-depth 24, or 16"),
    "--float32": "--bit-depth float",
    "--two-stems": "--stems kick writes the kick alone",
    "--single_stem": "--stems kick writes the kick alone",
    "--filename": "--name '{{track}}/{{stem}}'",
    **dict.fromkeys(("--bigshifts", "--use_tta"), "--shifts 4"),
    **dict.fromkeys(("--extra_models", "--extra-models"), "-m A,B writes the mean of both"),
    **dict.fromkeys(("--ensemble_weights", "--ensemble-weights"), "-m A,B --weights 2,1"),
    **dict.fromkeys(("--from-song", "--song", "--full-mix", "--chain"), "--from-mix"),
    **dict.fromkeys(("--segment", "--segment_size"), "leave it out: a model has its own"),
    **dict.fromkeys(("--jobs", "-j"), "leave it out: sep takes the cores that are free"),
    "--batch_size": "--batch NUMBER",
    **dict.fromkeys(("--half", "--fp16", "--use_autocast"), "--precision fp16"),
    "--bf16": "--precision bf16",
    **dict.fromkeys(("--force", "-f"), "--overwrite"),
    **dict.fromkeys(("--list_models", "--list-models"), "sep models list"),
    "--cpu": "--device cpu",
    **dict.fromkeys(("--gpu", "--cuda"), "--device cuda"),
    **dict.fromkeys(("--recursive", "-r"), "leave it out: folders are searched to their ends"),
}


def unknown(args: Sequence[str], path: str, commands: Sequence[str]) -> UsageError:
    """Return the error for a word that is no command."""
    word, inside = args[0], path != "sep"
    hint = (MODEL_COMMANDS if inside else COMMANDS).get(word.lower(), "")
    close = get_close_matches(word, commands)
    if hint:
        rest = shells.bash(args[1:])
        for each in ("NAME", "FILE", "drums.wav"):
            hint = hint.replace(each, rest) if rest else hint
    elif inside and any(word in (each.name, *each.aliases) for each in sep_models.catalogue()):
        hint = f"sep models info {word}"
    elif not inside and _is_audio(word):
        hint = shells.bash(("sep", "run", *args))
    elif close:
        hint = f"did you mean {close[0]!r}?"
    return UsageError(f"{path} has no command {word!r}", hint=hint or f"{path} --help")


def check_stems(paths: Sequence[str]) -> None:
    """Raise UsageError where a stem stands among the files: the list of --stems had a space."""
    known = {stem for each in sep_models.catalogue() for stem in each.stems}
    for each in paths:
        if canonical(each) in known and not disk.exists(each):
            raise UsageError(
                f"{each} stands where a file should", hint=f"without spaces: --stems ...,{each}"
            )


def _is_audio(word: str) -> bool:
    """Say whether a person means a file or a folder."""
    ending = Path(word).suffix.lower() in files.ENDINGS | files.VIDEOS
    return ending or disk.exists(Path(word)) or any(each in word for each in ("/", os.sep, "*"))


def helped(argv: list[str], app: click.Command) -> list[str]:
    """Return the command line with help asked for in the one way that the parser knows."""
    groups = [key for key, each in _commands(app).items() if _commands(each)]
    if not argv or (argv[0] in groups and len(argv) == 1):
        return [*argv, "--help"]
    if argv[0] == "help" or (
        argv[0] in ("--help", "-h") and argv[1:2] and argv[1] in _commands(app)
    ):
        return [*argv[1:], "--help"]
    return ["--help" if each == "-help" else each for each in argv]


def _commands(command: click.Command) -> dict[str, click.Command]:
    return dict(command.commands) if isinstance(command, click.Group) else {}


def option(name: str, close: Sequence[str], context: click.Context | None) -> UsageError:
    """Return the error for an option that a command does not have."""
    path = context.command_path if context else "sep"
    other = _elsewhere(name, context)
    hint = f"{path} --help"
    if other:
        hint = f"after the command: {path} {other} ... {name}"
    elif name in OPTIONS:
        hint = OPTIONS[name].format(name=name.lstrip("-"))
    elif close:
        hint = f"did you mean {min(close)}?"
    return UsageError(f"{path} has no option {name}", hint=hint)


def _elsewhere(name: str, context: click.Context | None) -> str:
    """Return a command that has this option, where it was typed before any command."""
    having = (
        key
        for key, each in (_commands(context.command) if context else {}).items()
        if any(name in (*param.opts, *param.secondary_opts) for param in each.params)
    )
    return next(having, "")


def choice(text: str, value: str) -> str:
    """Return a hint for a value that is none of the choices, nothing where there is none."""
    found = re.fullmatch(r"(wav|flac)-?_?(16|24|32)(f|float)?", value.lower())
    if "--format" in text and found:
        return f"--format {found[1]} --bit-depth {found[2]}"
    if "--bit-depth" in text and value.lower() in ("32f", "float32", "f32"):
        return "--bit-depth float"
    return ""


def usage(fault: Any) -> UsageError:  # noqa: ANN401 (the parser's error: its attributes vary)
    """Return what the parser turned down, in our words, with a hint."""
    context = getattr(fault, "ctx", None)
    if isinstance(fault, click.NoSuchOption):
        return option(fault.option_name, fault.possibilities or (), context)
    path = context.command_path if context else "sep"
    text = " ".join(str(fault.format_message()).replace("Value error, ", "").split()).rstrip(".")
    param = getattr(fault, "param", None)
    if context and param and (where := settings.source(context, param)):
        text = f"{text} (it is from {where})"
    hint = f"{path} --help"
    if isinstance(fault, click.MissingParameter) and path == "sep run":
        text, hint = "no file was given", f"{RUN}, or sep run --help"
    quoted = re.search(r": '([^']*)' is not one of", text)
    if quoted:
        hint = choice(text, quoted[1]) or hint
    return UsageError(text[:1].lower() + text[1:], hint=hint)
