"""Where sep keeps things on this host."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

HOME_VARIABLE = "SEP_HOME"  # one folder instead of the user's data and cache folders


def data() -> Path:
    """Return the folder of models and the native environment."""
    home = os.environ.get(HOME_VARIABLE)
    return Path(home) if home else Path(platformdirs.user_data_dir("sep", appauthor=False))


def models() -> Path:
    """Return the folder with one folder per installed model."""
    return data() / "models"


def native_python() -> Path:
    """Return the Python of the environment that `sep setup` makes."""
    folder = data() / "native"
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def facts() -> Path:
    """Return the file of facts that cost time to find out."""
    return data() / "facts.json"


def jobs() -> Path:
    """Return the folder with one folder per running job, never among the user's music."""
    home = os.environ.get(HOME_VARIABLE)
    cache = (
        Path(home) / "cache" if home else Path(platformdirs.user_cache_dir("sep", appauthor=False))
    )
    return cache / "jobs"
