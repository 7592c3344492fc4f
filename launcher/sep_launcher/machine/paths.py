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


def environments() -> Path:
    """Return the folder of the Python environments that `sep setup` makes."""
    return data() / "envs"


def facts() -> Path:
    """Return the file of facts that cost time to find out."""
    return data() / "facts.json"


def cache() -> Path:
    """Return the folder of what can be lost."""
    home = os.environ.get(HOME_VARIABLE)
    if home:
        return Path(home) / "cache"
    return Path(platformdirs.user_cache_dir("sep", appauthor=False))


def jobs() -> Path:
    """Return the folder with one folder per running job, never among the user's music."""
    return cache() / "jobs"


def lock() -> Path:
    """Return the file that one setup at a time holds."""
    return data() / "setup.lock"
