"""Defaults of the user's own: variables and one file, below the command line, above ours.

The parser reads the variables itself (`envvar` in options.py), and takes from here what is in the
file.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from sep_launcher.machine import disk, paths
from sep_protocol.errors import PathError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

TABLES = ("run", "bench", "route", "setup")  # commands whose defaults can be in the file


def keys(command: click.Command) -> dict[str, click.Parameter]:
    """Return what the file may set: each option with a value, each flag that can be taken back."""
    return {
        each.removeprefix("--"): param
        for param in command.params
        if isinstance(param, click.Option) and (not param.is_flag or param.secondary_opts)
        for each in param.opts
        if each.startswith("--")
    }


def defaults(command: click.Command, table: str) -> dict[str, Any]:
    """Return the file's values for a command, by the names of its parameters.

    Raises PathError where the file cannot be read, UsageError where it says what nobody knows.
    """
    try:
        path = paths.settings()
    except PathError:  # nobody's home: who needs one says so
        return {}
    found = _read(path)
    if unknown := sorted(set(found) - set(TABLES)):
        tables = ", ".join(f"[{each}]" for each in TABLES)
        raise UsageError(
            f"{path}: {unknown[0]!r} is not a table that sep knows", hint=f"put it under {tables}"
        )
    values = found.get(table, {})
    if not isinstance(values, dict):
        raise UsageError(f"{path}: {table} must be a table", hint=f"[{table}] on a line of its own")
    known = keys(command)
    made = {}
    for key, value in values.items():
        if key not in known:
            raise UsageError(
                f"{path}: [{table}] has no setting {key!r}", hint=f"it can have {', '.join(known)}"
            )
        made[str(known[key].name)] = _value(known[key], value, f"{path}: {key} in [{table}]")
    return made


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as fault:
        if not disk.exists(path):  # a folder of somebody else: nothing in it is this user's
            return {}
        raise PathError(
            f"{path} cannot be read: {fault.strerror}", hint="correct it, or move it away"
        ) from fault
    except (ValueError, RecursionError) as fault:
        raise UsageError(
            f"{path} is not TOML: {fault}", hint='a text needs quotes: model = "mdx23c-mini"'
        ) from fault


def _value(param: click.Parameter, value: object, where: str) -> object:
    """Return a value of the file as the parser takes it; raise UsageError for another type."""
    if isinstance(param, click.Option) and param.is_flag:
        fits, wanted = isinstance(value, bool), "true or false"
    elif param.multiple:
        given = value if isinstance(value, list) else [value]
        fits = all(type(each) in (str, int, float) and each != "" for each in given)
        wanted = 'one or a list, as in ["larsnet"]'
        value = [str(each) for each in given] if fits else value
    elif param.type in (click.INT, click.FLOAT):
        fits, wanted = type(value) in (int, float), "a number"
    elif isinstance(param.type, click.Choice):
        fits = str(value) in param.type.choices and not isinstance(value, bool)
        wanted = f"one of {', '.join(map(str, param.type.choices))}"
        value = str(value)
    else:
        fits, wanted = isinstance(value, str) and value != "", "a text in quotes"
    if not fits:
        raise UsageError(f"{where} must be {wanted}, not {value!r}")
    return value


def source(context: click.Context, param: click.Parameter) -> str:
    """Return where a value comes from that was not typed, nothing where it was, or is ours."""
    match context.get_parameter_source(str(param.name)):
        case ParameterSource.ENVIRONMENT:
            return str(param.envvar)
        case ParameterSource.DEFAULT_MAP:
            return str(paths.settings())
        case _:
            return ""


def used(context: click.Context) -> list[str]:
    """Return a line for each value that was not typed."""
    found = [(each, source(context, each)) for each in context.command.params]
    return [
        f"{_typed(param, context.params[str(param.name)])} is from {where}"
        for param, where in found
        if where
    ]


def _typed(param: click.Parameter, value: object) -> str:
    """Return what would have been typed for a value."""
    if isinstance(value, bool):
        return (param.opts if value else param.secondary_opts)[0]
    values = value if isinstance(value, list | tuple) else [value]
    return f"{param.opts[0]} {' '.join(map(str, values))}"
