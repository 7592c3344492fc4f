"""Where fetched models lie on a host: the launcher puts them there, Python programs look there.

A container has no such place: a Job names the folder of its model.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

HOME_VARIABLE = "SEP_HOME"  # one folder instead of the user's data and cache folders


def data() -> Path:
    """Return the folder of all that sep keeps for this user, absolute; the installers know it, too.

    Raises RuntimeError where there is no home.
    """
    if home := os.environ.get(HOME_VARIABLE):
        return Path(home).absolute()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "sep"
    shared = Path(os.environ.get("XDG_DATA_HOME", "").strip())
    if shared.is_absolute():  # any other is to be ignored, by the specification
        return shared / "sep"
    ours = ("Library", "Application Support") if sys.platform == "darwin" else (".local", "share")
    return Path.home().joinpath(*ours, "sep")


def models() -> Path:
    """Return the folder with one folder per fetched model; raises RuntimeError without a home."""
    return data() / "models"


def cache() -> Path:
    """Return the folder of what can be lost; raises RuntimeError without a home."""
    if home := os.environ.get(HOME_VARIABLE):
        return Path(home).absolute() / "cache" / "sep"
    if sys.platform == "win32":
        return data() / "Cache"
    shared = Path(os.environ.get("XDG_CACHE_HOME", "").strip())
    if shared.is_absolute():
        return shared / "sep"
    ours = ("Library", "Caches") if sys.platform == "darwin" else (".cache",)
    return Path.home().joinpath(*ours, "sep")
