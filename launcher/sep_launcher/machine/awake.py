"""Keep the machine from falling asleep while a run goes on; the screen may go dark."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ES_CONTINUOUS = 0x80000000
ES_SYSTEM_REQUIRED = 0x00000001


@contextlib.contextmanager
def awake() -> Iterator[None]:
    """Ask the system to stay awake; where it cannot be asked, go on all the same.

    Windows and macOS: never run on the real thing.
    """
    if sys.platform == "win32":
        import ctypes  # noqa: PLC0415

        ctypes.windll.kernel32.SetThreadExecutionState(ES_CONTINUOUS | ES_SYSTEM_REQUIRED)
        try:
            yield
        finally:
            ctypes.windll.kernel32.SetThreadExecutionState(ES_CONTINUOUS)
        return
    command = inhibitor(sys.platform, os.getpid())
    process = None
    if shutil.which(command[0]):
        with contextlib.suppress(OSError):
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
    try:
        yield
    finally:
        if process is not None:
            if process.stdin:
                process.stdin.close()
            process.terminate()
            process.wait()


def inhibitor(platform: str, pid: int) -> list[str]:
    """Return the command that holds off sleep until this process ends, however that may be."""
    if platform == "darwin":
        return ["caffeinate", "-i", "-w", str(pid)]
    # `cat` ends when our end of its standard input closes, even by kill -9.
    why = ["--who=sep", "--why=separating music", "--mode=block"]
    return ["systemd-inhibit", "--what=sleep:idle", *why, "cat"]
