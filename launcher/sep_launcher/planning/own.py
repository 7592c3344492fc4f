"""Checkpoints of the user's own that have a name here. They stay where they are."""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sep_launcher.machine import paths
from sep_protocol.codec import decode
from sep_protocol.errors import PathError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

FILE = "own.json"  # in the folder of the model's name, where a fetched one has its weights
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")  # any file system takes it; no file has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """A checkpoint with a name."""

    name: str
    checkpoint: str  # absolute
    settings: str | None  # its YAML, absolute; None: sep knows the checkpoint
    sha256: str  # of the checkpoint when it got the name


def every() -> list[Own]:
    """Return all of them; what is no record of ours, or cannot be read, is none."""
    names: list[str] = []
    with contextlib.suppress(OSError):
        names = sorted(os.listdir(paths.models()))  # noqa: PTH208 (names, not paths)
    found = []
    for name in filter(NAME.fullmatch, names):
        with contextlib.suppress(OSError, ValueError, RecursionError):
            own = decode(Own, json.loads(_file(name).read_text(encoding="utf-8")))
            found += [own] if own.name == name else []
    return found


def find(name: str) -> Own | None:
    """Return the one of that name."""
    return next((each for each in every() if each.name == name), None)


def add(own: Own, taken: list[str]) -> None:
    """Give a checkpoint its name; raise UsageError for one that is taken or cannot be, PathError.

    A name that is given again means the new checkpoint.
    """
    if not NAME.fullmatch(own.name):
        raise UsageError(
            f"{own.name!r} cannot be a model's name", hint="letters, digits, - and _ alone"
        )
    if own.name in taken:
        raise UsageError(f"there is a model called {own.name!r} already", hint="sep models list")
    path = _file(own.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".new")
        partial.write_text(json.dumps(asdict(own), indent=1) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as fault:
        raise PathError(f"{path} cannot be written: {fault.strerror}") from fault


def remove(own: Own) -> None:
    """Forget a name; the checkpoint stays. Raises PathError."""
    path = _file(own.name)
    try:
        path.unlink(missing_ok=True)
    except OSError as fault:
        raise PathError(f"{path} cannot be removed: {fault.strerror}") from fault
    with contextlib.suppress(OSError):  # something of others is in it
        path.parent.rmdir()


def _file(name: str) -> Path:
    return paths.models() / name / FILE
