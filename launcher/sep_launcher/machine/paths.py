"""Where sep keeps things on this host, and how it knows its own among them.

SEP_HOME may be a folder with somebody's things in it, a conda root for example: what setup deletes
has a mark, or a name that nobody else gives.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from sep_models import home
from sep_protocol.errors import PathError

if TYPE_CHECKING:
    from collections.abc import Callable

HOME_VARIABLE = home.HOME_VARIABLE
MARK = ".made-by-sep"  # a file in every folder that setup may delete; install.sh knows it, too


def data() -> Path:
    """Return the folder of models and the native environment, absolute."""
    return _of_user(home.data)


def _of_user(folder: Callable[[], Path]) -> Path:
    try:
        return folder()
    except RuntimeError as fault:  # a user whom the system does not know, as some containers have
        message = "there is no home folder: HOME is not set, and the system does not know this user"
        raise PathError(message, hint=f"set HOME or {HOME_VARIABLE}") from fault


def checkout() -> Path | None:
    """Return the checkout that this launcher runs from, None where it was installed."""
    root = Path(__file__).parents[3]
    return root if (root / "runtime" / "sep_runtime").is_dir() else None


def models() -> Path:
    """Return the folder with one folder per installed model."""
    return data() / "models"


def environments() -> Path:
    """Return the folder of the Python environments that `sep setup` makes."""
    return data() / "envs"


def facts() -> Path:
    """Return the file of facts that cost time to find out."""
    return data() / "facts.json"


def settings() -> Path:
    """Return the file with the user's own defaults, there or not."""
    moved = os.environ.get(HOME_VARIABLE)
    if moved:
        return Path(moved).absolute() / "config.toml"
    folder = _of_user(lambda: platformdirs.user_config_path("sep", appauthor=False))
    return folder.absolute() / "config.toml"


def cache() -> Path:
    """Return the folder of what can be lost, absolute; nothing of others is in it."""
    return _of_user(home.cache)


def jobs() -> Path:
    """Return the folder with one folder per running job, never among the user's music."""
    return cache() / "jobs"


def lock() -> Path:
    """Return the file that one setup at a time holds."""
    return data() / ".sep-setup.lock"


def is_ours(folder: Path) -> bool:
    """Say whether setup made this folder."""
    return not folder.is_symlink() and (folder / MARK).is_file()


def mark(folder: Path) -> None:
    """Make a folder with the mark in it; raises OSError, also where it is there already."""
    folder.mkdir(parents=True)
    (folder / MARK).write_text("sep setup made this folder and may delete it\n", encoding="utf-8")
