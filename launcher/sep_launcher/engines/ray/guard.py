"""`python -m sep_launcher.engines.ray.guard FOLDER`: ends a cluster whose launcher is gone.

It hears of that by the end of its standard input. Ray's own processes follow their head, but its
agents need more than a minute for it, and Ray never removes its folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from sep_launcher.engines.ray.access import TOKEN_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator

GRACE_SECONDS = (
    4.0  # that they may take to end by themselves, runtimes with their tracks among them
)
LOOK_SECONDS = 0.2
END_SECONDS = 15.0


@contextmanager
def guarded(token: Path) -> Iterator[None]:
    """Have whatever carries this token's path ended, and its folder removed, after this context."""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", __name__, str(token)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=sys.platform != "win32",  # what ends the launcher must not end it
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    ) as process:
        try:
            yield
        finally:
            with suppress(OSError, subprocess.TimeoutExpired):
                process.communicate(timeout=END_SECONDS)
            process.kill()


def end(token: Path, launcher: int) -> None:
    """Wait for the cluster's processes, then end those that are left; remove its folder."""
    until = time.monotonic() + GRACE_SECONDS
    while (left := _of(token, launcher)) and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
    for each in left:
        with suppress(psutil.Error):
            each.kill()
    psutil.wait_procs(left, timeout=GRACE_SECONDS)
    shutil.rmtree(token.parent, ignore_errors=True)


def _of(token: Path, launcher: int) -> list[psutil.Process]:
    """Return the cluster's processes, without the launcher, which may live on.

    Ray writes titles over the environment of its own; they have their logs in the folder open.
    """
    every = (each for each in psutil.process_iter() if each.pid != launcher)
    return [each for each in every if _is_of(each, token)]


def _is_of(process: psutil.Process, token: Path) -> bool:
    with suppress(psutil.Error, OSError):  # another user's, or gone
        if process.environ().get(TOKEN_PATH) == str(token):
            return True
        return any(Path(each.path).is_relative_to(token.parent) for each in process.open_files())
    return False


def main() -> None:
    """Wait for the end of standard input."""
    launcher = os.getppid()
    sys.stdin.read()
    end(Path(sys.argv[1]), launcher)


if __name__ == "__main__":
    main()
