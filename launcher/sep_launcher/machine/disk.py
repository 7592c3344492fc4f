"""Questions to the file system that are always answered: what may not be looked at is not there.

pathlib's raise where a folder may not be searched, a name is too long or a disk is ill.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


def mode(path: Path | str, *, links: bool = False) -> int:
    """Return the kind of file and its permissions; 0 where there is none.

    Links are followed, unless `links` asks for those themselves.
    """
    try:
        return os.stat(path, follow_symlinks=not links).st_mode  # noqa: PTH116 (texts as well)
    except (OSError, ValueError):
        return 0


def size(path: Path | str) -> int:
    """Return the bytes of a file; 0 where there is none."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 (texts as well)
    except (OSError, ValueError):
        return 0


def exists(path: Path | str) -> bool:
    """Say whether there is anything."""
    return mode(path) != 0


def is_file(path: Path | str) -> bool:
    """Say whether it is a file."""
    return stat.S_ISREG(mode(path))


def is_dir(path: Path | str) -> bool:
    """Say whether it is a folder."""
    return stat.S_ISDIR(mode(path))


def absolute(path: Path | str) -> Path:
    """Return the path from the root on, without `.` and `..`, its links as they are."""
    return Path(os.path.abspath(path))  # noqa: PTH100 (Path's follows links)
