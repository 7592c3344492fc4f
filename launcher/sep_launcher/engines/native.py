"""The runtime as a child process in a Python environment of this host."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING

from sep_launcher.engines import EVENT_BYTES, LOG_BYTES, job_files, shells
from sep_launcher.engines.listener import LOOK, Listener
from sep_launcher.machine import disk
from sep_protocol import TrackDone
from sep_protocol.errors import MemoryLimitError, NotReadyError, RuntimeFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from sep_launcher.planning.plan import Plan
    from sep_protocol import Event

STEPS = (("interrupt", 8.0), ("terminate", 4.0))  # and the seconds that each may take
SETUP = "run: sep setup"
LESS = "close other programs, or try --batch 1"
# Last words of libraries that end the process themselves: C++, OpenBLAS, libgomp.
NO_MEMORY = ("std::bad_alloc", "Memory allocation still failed", "Thread creation failed")


class NativeEngine:
    """An Engine; `log` is called with every line that the runtime writes to its stderr.

    Without a `group` of its own the runtime ends with whatever ends the group of this process.
    """

    def __init__(self, log: Callable[[str], None] | None = None, *, group: bool = True) -> None:
        self._log = log
        self._group = group
        self._process: subprocess.Popen[bytes] | None = None
        self._reader = threading.Thread()
        self._stopped = False

    def ready(self) -> str:
        """Return the name of this machine: it waits for nobody."""
        return platform.node()

    @property
    def by(self) -> None:
        """One runtime says all."""

    def start(self, plan: Plan) -> Generator[Event, None, None]:
        """Yield the runtime's events; the Job's file is gone afterwards."""
        self._stopped = False
        listener = self._listener(plan)
        with job_files.held(plan.job) as job_file:
            command = [*command_of(plan, job_file)[:-1], "--watch-stdin", str(job_file)]
            process = self._spawn(plan, command, listener.log)
            for line in lines(process.stdout, EVENT_BYTES):
                if (event := heard(listener, line)) is not None:
                    yield event
            self._end(process, plan, listener)

    def _listener(self, plan: Plan) -> Listener:
        return Listener(plan.job, str(plan.python), mend(), self._log)

    def _end(self, process: subprocess.Popen[bytes], plan: Plan, listener: Listener) -> None:
        """Reap a runtime that has nothing more to say; raise what its end means."""
        code = process.wait()
        self._reader.join(timeout=5)
        self._close()
        if not listener.finished:
            raise vanished(plan, code, listener)
        if not self._stopped:
            listener.check_end(code)

    def _close(self) -> None:
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # what was not sent goes nowhere
                        pipe.close()

    def _spawn(
        self, plan: Plan, command: list[str], log: Callable[[str], None]
    ) -> subprocess.Popen[bytes]:
        """Start the command. A group of its own: the terminal's Ctrl-C is for the launcher."""
        try:
            self._process = process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**_inherited(), **plan.environment},
                start_new_session=self._group and sys.platform != "win32",
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as fault:
            raise _unstarted(command[0], fault) from fault
        self._reader = threading.Thread(target=_drain, args=(process.stderr, log), daemon=True)
        self._reader.start()
        return process

    def stop(self) -> None:
        """Interrupt, then terminate, then kill; each gets its time to clean up."""
        process = self._process
        if process is None:
            return
        self._stopped = True
        self.go_on()  # what rests hears nothing
        for step, seconds in STEPS:
            if process.poll() is not None:
                break
            if step == "terminate":
                process.terminate()
            elif sys.platform == "win32":
                process.send_signal(signal.CTRL_BREAK_EVENT)
            else:
                process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """Kill the process, if it lives, and reap it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._close()

    def pause(self) -> None:
        """Stop the process and what it has started, until `go_on`."""
        self._signal("SIGSTOP")

    def go_on(self) -> None:
        """Continue them."""
        self._signal("SIGCONT")

    def _signal(self, name: str) -> None:
        process = self._process
        if sys.platform != "win32" and process is not None and process.returncode is None:
            to = os.killpg if self._group else os.kill
            with contextlib.suppress(OSError):
                to(process.pid, getattr(signal, name))


def _inherited() -> dict[str, str]:
    """Return this environment without what makes Python ask, or look into the current folder."""
    found = {name: value for name, value in os.environ.items() if name != "PYTHONINSPECT"}
    if "PYTHONPATH" in found:
        folders = found["PYTHONPATH"].split(os.pathsep)
        found["PYTHONPATH"] = os.pathsep.join(each for each in folders if Path(each).is_absolute())
    return found


def heard(listener: Listener, line: str) -> Event | None:
    """Return the event in a line; raise RuntimeFailedError for a track that is not there."""
    event = listener.event(line)
    if isinstance(event, TrackDone) and not disk.is_dir(event.out):
        raise RuntimeFailedError(f"the runtime says that {event.out} is done: it is not there")
    return event


def command_of(plan: Plan, job_file: Path | str) -> list[str]:
    """Return the command that does the job by itself. `-P`: the current folder is no package."""
    if plan.python is None:
        raise NotReadyError("no Python environment with torch is set up", hint=SETUP)
    flag = "-I" if plan.isolated else "-P"
    return [plan.python, flag, "-m", "sep_runtime", str(job_file)]


def shown(plan: Plan, job_file: Path) -> str:
    """Return the command as one line to paste into this system's shell."""
    if sys.platform == "win32":
        sets = "; ".join(f"$env:{name}='{value}'" for name, value in plan.environment.items())
        return f"{sets}; & {shells.powershell(command_of(plan, job_file))}"
    sets = " ".join(f"{name}={value}" for name, value in plan.environment.items())
    return f"{sets} {shells.bash(command_of(plan, job_file))}"


def lines(stream: IO[bytes] | None, most: int) -> Iterator[str]:
    """Yield lines; a longer one than `most` bytes in pieces."""
    with contextlib.suppress(ValueError):  # another thread has closed it
        while stream is not None and (line := stream.readline(most)):
            yield line.decode("utf-8", "replace").rstrip("\r\n")


def _drain(stream: IO[bytes] | None, log: Callable[[str], None]) -> None:
    for line in lines(stream, LOG_BYTES):
        log(line)


def check_python(python: str) -> None:
    """Raise NotReadyError where there is no such program."""
    if shutil.which(python) is None:
        raise _unstarted(python, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))


def _unstarted(python: str, fault: OSError) -> NotReadyError:
    named = os.environ.get("SEP_RUNTIME_PYTHON")
    hint = "unset SEP_RUNTIME_PYTHON, or name a Python that is there" if named else mend()
    return NotReadyError(f"{python} cannot be started: {fault.strerror}", hint=hint)


def vanished(plan: Plan, code: int, listener: Listener) -> Exception:
    """Return the error for a runtime that ended without a last word."""
    tail = listener.last_words
    if not listener.said_hello and listener.logged("nknown option"):
        # It does not know -P.
        hint = "name a newer one by SEP_RUNTIME_PYTHON, or unset it"
        return NotReadyError(f"{plan.python} is older than Python 3.11", hint=hint)
    if not listener.said_hello and "No module named" in tail:
        return NotReadyError(f"{plan.python} cannot run sep: {tail}", hint=mend())
    if any(words in tail for words in NO_MEMORY):
        return MemoryLimitError(f"the runtime ran out of memory: {tail}", hint=LESS)
    how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    hint = LOOK
    if -code == getattr(signal, "SIGKILL", 9):
        hint = "the system may have run out of memory; try --batch 1"
    message = f"the runtime {how} without a last word" + (f": {tail}" if tail else "")
    return RuntimeFailedError(message, hint=hint)


def mend() -> str:
    """Return the hint for an environment that cannot run this sep: setup touches only its own."""
    named = os.environ.get("SEP_RUNTIME_PYTHON")
    if not named:
        return f"{SETUP} --repair"
    return (
        "sep setup --wheel DIR writes this sep as a wheel; "
        f"{named} -m pip install 'DIR/<that wheel>[runtime]', or unset SEP_RUNTIME_PYTHON"
    )
