"""Show a folder in this system's file manager. Windows and macOS: never run on the real thing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from sep_protocol.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

CONTAINER = "SEP_IN_CONTAINER"


def can_reveal() -> bool:
    """Say whether there is a file manager that could be seen."""
    if os.environ.get(CONTAINER):
        return False
    if sys.platform in ("win32", "darwin"):
        return True
    seen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(seen and shutil.which("xdg-open"))


def reveal(folder: Path) -> None:
    """Open a folder, or the one that a file is in; raise EngineError where that cannot be."""
    where = folder if folder.is_dir() else folder.parent
    if not where.is_dir() or not can_reveal():
        raise EngineError(f"{where} cannot be shown from here")
    if sys.platform == "win32":
        command = ["explorer", str(where)]
    elif sys.platform == "darwin":
        command = ["open", str(where)]
    else:
        command = ["xdg-open", str(where)]
    try:
        subprocess.Popen(command, stdin=-3, stdout=-3, stderr=-3, start_new_session=True)
    except OSError as fault:
        raise EngineError(f"{command[0]} cannot be started: {fault.strerror}") from fault
