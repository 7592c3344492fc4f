"""Models that a user imported: a folder of the model's name, with weights and what they are.

A model that is replaced moves aside first, under a name that says whose place is empty. Until the
new one is there the old one is found under that name, whatever ended the command.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

import sep_models
from sep_launcher.machine import disk, paths
from sep_launcher.planning.request import AUTO, NONE
from sep_models.stems import DEVICES
from sep_protocol.errors import ModelError, PathError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sep_models import Manifest

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")  # any file system takes it; no file has it
ASIDE = ".sep-old-"  # before the name of a model that is being replaced
FILES = (sep_models.RECORD, sep_models.WEIGHTS)


def every() -> list[Manifest]:
    """Return all of them by name; what is no record of ours is none."""
    try:
        found = os.listdir(paths.models())  # noqa: PTH208 (a folder that cannot be read)
    except OSError:
        return []
    names = {each.removeprefix(ASIDE) for each in found}
    return [own for each in sorted(filter(NAME.fullmatch, names)) if (own := find(each))]


def find(name: str) -> Manifest | None:
    """Return the one of that name."""
    folder = place(name)
    with contextlib.suppress(ModelError):
        manifest = sep_models.of_folder(folder) if folder else None
        if manifest and manifest.imported and manifest.name == name:
            return manifest
    return None


def place(name: str) -> Path | None:
    """Return the folder of the one of that name: its own, or where it was moved aside."""
    if not NAME.fullmatch(name):
        return None
    here = (paths.models() / name, _aside(name))
    return next((each for each in here if disk.is_file(each / sep_models.RECORD)), None)


def suggested(file: Path) -> str:
    """Return a name made of a file's; raise UsageError where none can be."""
    found = re.sub("[^A-Za-z0-9_-]+", "-", file.stem).strip("-_")[:60]
    if not found:
        raise UsageError(f"no name can be made of {file.name!r}", hint="--name NAME")
    return found


def check(name: str, taken: list[str]) -> None:
    """Raise UsageError for a name that cannot be a model's, or is one of the catalogue's."""
    if not NAME.fullmatch(name) or name.lower() in {*DEVICES, AUTO, NONE}:
        raise UsageError(
            f"{name!r} cannot be a model's name", hint="letters, digits, - and _ alone"
        )
    if name.lower() in taken:  # some file systems know no case
        raise UsageError(f"there is a model called {name.lower()!r} already", hint="--name NAME")


def put(staged: Path, name: str) -> None:
    """Move a model that is whole to its place, and the one that is there away.

    The caller holds the lock of setup. Raises PathError.
    """
    settle(name)
    target, aside = paths.models() / name, _aside(name)
    with _moved(target):
        if not disk.is_file(target / sep_models.RECORD):
            target.mkdir(parents=True, exist_ok=True)
            for each in reversed(FILES):  # with its record a model is there
                (staged / each).replace(target / each)
            staged.rmdir()
            return
        target.rename(aside)
        staged.rename(target)
    _clear(aside, target)


def settle(name: str) -> None:
    """Bring what was moved aside and is still needed back; the rest of it goes.

    The caller holds the lock of setup. Raises PathError.
    """
    target, aside = paths.models() / name, _aside(name)
    if disk.is_dir(aside) and not os.path.islink(aside):  # noqa: PTH114 (it raises nowhere)
        if disk.exists(target):
            _clear(aside, target)
        else:
            with _moved(target):
                aside.rename(target)


def remove(name: str) -> None:
    """Take a model away; the file that it was imported from stays.

    The caller holds the lock of setup. Raises PathError.
    """
    settle(name)
    folder = place(name)
    if folder is None:
        return
    with _moved(folder):
        for each in FILES:
            (folder / each).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # something of others is in it
        folder.rmdir()


def _clear(aside: Path, target: Path) -> None:
    """Take away what was replaced; what else lay beside it goes on lying beside the new one."""
    with _moved(target):
        for each in list(aside.iterdir()):
            if each.name in FILES:
                each.unlink()
            elif not disk.exists(target / each.name):
                each.rename(target / each.name)
    with contextlib.suppress(OSError):
        aside.rmdir()


def _aside(name: str) -> Path:
    return paths.models() / f"{ASIDE}{name}"


@contextlib.contextmanager
def _moved(path: Path) -> Iterator[None]:
    """Turn the disk's faults into PathError."""
    try:
        yield
    except OSError as fault:
        raise PathError(f"{path} cannot be written: {fault.strerror}") from fault
