"""One command of an installer: run where nothing of the user's lies, its last words kept.

The current folder is never where it works: Python, pip and uv would take modules and settings
from there, and setup would run what somebody has put beside a song.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from sep_protocol.errors import NotReadyError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sep_launcher.setup.installers import Step
    from sep_launcher.show.screen import Screen

TAIL = 10  # lines of a failed command that are shown
LAST = 200  # lines of it in which its error is looked for
BYTES = re.compile(r"Progress (\d+) of (\d+)")  # as pip tells it to programs
PACKAGE = re.compile(r"\s*(?:Collecting|Downloading|Installing) ([\w.]+)")
# What turns another Python's head.
STRANGE = ("PYTHONHOME", "PYTHONPATH")
# Files and folders that users name for pip, uv and conda, as seen from where they are.
NAMED = re.compile(
    r"(PIP|UV)_(CONFIG_FILE|(CLIENT_)?CERT|FIND_LINKS|(BUILD_)?CONSTRAINT|OVERRIDE|CACHE_DIR"
    r"|(EXTRA_|DEFAULT_)?INDEX(_URL)?)|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE|CONDARC"
)


def program(name: str) -> str | None:
    """Return where a program is; one that lies in the current folder is none."""
    places = [each for each in os.get_exec_path() if Path(each).is_absolute()]
    found = shutil.which(name, path=os.pathsep.join(places)) if places else None
    # Windows looks in the current folder first, whatever the path is.
    return found if found and Path(found).is_absolute() else None


def run(step: Step, folder: Path, screen: Screen) -> None:
    """Run one command in a folder, with a bar; its last words are shown if it fails.

    Raises NotReadyError where it fails.
    """
    screen.log(" ".join(step.command))
    variables = {**environment(), **dict(step.environment)}
    if step.bars and not screen.open:
        variables["PIP_PROGRESS_BAR"] = "raw"
    try:
        process = subprocess.Popen(
            step.command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr if screen.open else subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=variables,
            # Ctrl-C is ours to hear, or each command would tell of it in its own way.
            start_new_session=sys.platform != "win32",
        )
    except OSError as fault:
        message = f"{step.command[0]} cannot be started: {fault.strerror}"
        raise NotReadyError(message) from fault
    said: deque[str] = deque(maxlen=LAST)
    with process:
        try:
            if process.stdout:
                screen.meter(step.what)
                said.extend(line for line in process.stdout if not meter(line, step.what, screen))
            process.wait()
        except BaseException:
            _end(process.pid)
            raise
        finally:
            screen.meter_end()
    if process.returncode:
        told = tell_last(said, screen)
        raise NotReadyError(
            f"setting up {step.what} failed" + (f": {told}" if told else ""),
            hint="fix that and run sep setup again; what was fetched is kept. "
            "Without a network: sep setup --wheelhouse DIR",
        )


def meter(line: str, what: str, screen: Screen) -> bool:
    """Show what a line of pip or uv says of its progress; return whether it says nothing else."""
    if found := BYTES.match(line):
        screen.meter("", int(found[1]), int(found[2]))
        return True
    if found := PACKAGE.match(line):
        screen.meter(f"{what}: {found[1]}")
    return False


def environment() -> dict[str, str]:
    """Return the variables for a command that runs in another folder."""
    kept = {name: value for name, value in os.environ.items() if name not in STRANGE}
    return {k: absolute(v) if NAMED.fullmatch(k) else v for k, v in kept.items()}


def absolute(value: str) -> str:
    """Return the value with the relative paths in it that are there made absolute.

    An address is no path, whatever folders somebody has made: https:/host may be one.
    """
    if re.search(r"[\s,]", value) and not os.path.exists(value):  # noqa: PTH110 (never raises)
        return re.sub(r"[^\s,]+", lambda part: absolute(part.group()), value)
    if value and "://" not in value and os.path.exists(value):  # noqa: PTH110
        return os.path.abspath(value)  # noqa: PTH100
    return value


def tell_last(lines: Iterable[str], screen: Screen) -> str:
    """Show what a command printed from its first error on; where it names none, its last lines.

    Returns the first error, or the last line; nothing where it printed nothing.
    """
    said = [line.strip() for line in lines if line.strip()]
    errors = [index for index, line in enumerate(said) if line.lower().startswith("error")]
    for line in said[errors[0] if errors else 0 :][-TAIL:]:
        screen.say(f"     {line}", loud=True)
    if errors:
        return said[errors[0]]
    return said[-1] if said else ""


def _end(pid: int) -> None:
    """Kill a command and all that it has started: what lives on would write on."""
    import psutil  # noqa: PLC0415

    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        family = [*parent.children(recursive=True), parent]
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(family, timeout=5)
