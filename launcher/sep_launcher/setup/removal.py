"""What setup and runs have left on this host, and taking it away: what has a mark, or our name."""

from __future__ import annotations

import contextlib
import re
import shutil
from typing import TYPE_CHECKING

import sep_models
from sep_launcher.machine import facts, paths
from sep_protocol.errors import PathError, RuntimeFailedError

if TYPE_CHECKING:
    from pathlib import Path

    from sep_launcher.show.screen import Screen

CACHED = ("accel", "pip", "wheels", "jobs", "models", "environment.yml")
STAGED = ".sep-new-"  # what folders begin with whose model is not whole yet
PARTIAL = re.compile(rf"\.{re.escape(sep_models.WEIGHTS)}\.\d+")  # the runtime's, with its process


def removable() -> list[Path]:
    """Return what setup and runs have left on this host, models aside."""
    cached = [paths.cache() / name for name in CACHED]
    broken = [path for each in sep_models.catalogue() for path in unfinished(each.name)]
    found = [*environments(), *facts.written(), *cached, *broken, *half_made(), paths.lock()]
    found = list(dict.fromkeys(found))
    return [each for each in found if each.exists() or each.is_symlink()]


def environments() -> list[Path]:
    """Return the folders of the environments that setup made."""
    return [each for each in _in(paths.environments()) if paths.is_ours(each)]


def staged(model: str) -> Path:
    """Return the folder that a model is converted into, before it takes its place."""
    return paths.models() / f"{STAGED}{model}"


def unfinished(model: str) -> list[Path]:
    """Return what conversions of a model have left that were killed."""
    partial = [each for each in _in(paths.models() / model) if PARTIAL.fullmatch(each.name)]
    return [each for each in _in(paths.models()) if each == staged(model)] + partial


def half_made() -> list[Path]:
    """Return the folders beside the models that conversions write into, and killed ones left."""
    return [each for each in _in(paths.models()) if each.name.startswith(STAGED)]


def _in(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def remove(screen: Screen) -> None:
    """Take it all away; folders of ours that are empty then, too."""
    for each in removable():
        screen.say(f"removing {each}")
        if each == paths.lock():
            with contextlib.suppress(OSError):  # Windows keeps what is open
                each.unlink()
        else:
            take_away(each)
    cache = paths.cache()
    for folder in (cache, cache.parent, paths.environments(), paths.models(), paths.data()):
        if folder.is_relative_to(paths.data()) or folder == cache:
            with contextlib.suppress(OSError):  # something is in it
                folder.rmdir()


def clear(folder: Path) -> None:
    """Take away what an interrupted setup left there, so that a new environment can be made.

    Raises PathError where something stands there that setup did not make.
    """
    if paths.is_ours(folder):
        take_away(folder)
    with contextlib.suppress(OSError):  # an empty one is nobody's: the mark was about to come
        folder.rmdir()
    if folder.exists() or folder.is_symlink():
        raise PathError(
            f"{folder} was not made by sep setup, so it is left as it is",
            hint=f"move it away, or choose another folder with {paths.HOME_VARIABLE}",
        )


def take_away(path: Path) -> None:
    """Remove a file, a link or a folder, no matter if it is gone; raises RuntimeFailedError."""
    try:
        if path.is_dir() and not path.is_symlink():
            # The mark goes last: half of a folder is ours, too.
            for each in path.iterdir() if paths.is_ours(path) else ():
                if each.name != paths.MARK:
                    take_away(each)
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as fault:
        raise RuntimeFailedError(
            f"{fault.filename} cannot be removed: {fault.strerror}", hint="close what uses it"
        ) from fault
