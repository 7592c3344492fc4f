"""Files of the user's cache: what can be found out again. None of it is needed."""

from __future__ import annotations

import contextlib
import logging
import uuid
from typing import TYPE_CHECKING

from sep_models import home

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "accel"  # `sep setup --remove` knows it, too

log = logging.getLogger(__name__)


def folder() -> Path | None:
    """Return the folder of the cache, there or not; None for a user without a home."""
    try:
        return home.cache() / FOLDER
    except RuntimeError:
        return None


def write(path: Path | None, data: bytes) -> bool:
    """Put a file there in one step; False where that cannot be."""
    if path is None:
        return False
    partial = path.with_name(f".sep-{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as fault:
        log.info("%s is not kept: %s", path.name, fault)
        with contextlib.suppress(OSError):
            partial.unlink()
        return False
    return True
