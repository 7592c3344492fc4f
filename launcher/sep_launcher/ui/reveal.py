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


def has_desktop() -> bool:
    """Say whether somebody would see a window of this computer."""
    if os.environ.get(CONTAINER):
        return False
    seen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return sys.platform in ("win32", "darwin") or bool(seen)


def can_reveal() -> bool:
    """Say whether there is a file manager that could be seen."""
    known = sys.platform in ("win32", "darwin") or shutil.which("xdg-open")
    return has_desktop() and bool(known)


def reveal(folder: Path) -> None:
    """Open a folder, or the one that a file is in; raise EngineError where that cannot be."""
    where = folder if folder.is_dir() else folder.parent
    if not where.is_dir() or not can_reveal():
        raise EngineError(f"{where} cannot be shown from here")
    if sys.platform == "win32":
        command = ["explorer", f"/select,{where}"]
    elif sys.platform == "darwin":
        command = ["open", "-R", str(where)]  # a folder may be called song.app
    else:
        command = ["xdg-open", str(where)]
    try:
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as fault:
        raise EngineError(f"{command[0]} cannot be started: {fault.strerror}") from fault
