"""Jobs in, Events on standard output.

`python -m sep_runtime [--watch-stdin] JOB` does one Job, of a file. `python -m sep_runtime --serve`
does those that come on standard input, each on one line, until it ends; the model of one is kept
for the next, and every Event says its Job. A Job that fails as a whole is the last one: whoever
asked makes a new process, in which nothing is left of it.
"""

from __future__ import annotations

import _thread
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, TextIO

from sep_models import WEIGHTS
from sep_protocol import Done, Failed, Hello, Phase, code, dump_event, load_job
from sep_protocol.errors import (
    ExitCode,
    InterruptedJob,
    NotReadyError,
    PathError,
    SepError,
    UsageError,
)
from sep_runtime import digests, memory
from sep_runtime.kept import Kept

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from sep_protocol import Event, Job, Model

BEGUN = time.perf_counter()
GRACE_SECONDS = 20.0  # between the launcher's end and ours, whatever a chunk takes
SERVING_GRACE_SECONDS = 2.0  # another process may be about to take the device
USAGE = "usage: python -m sep_runtime [--watch-stdin] JOB, or --serve"

log = logging.getLogger("sep_runtime")


def main(argv: list[str]) -> int:
    """Run the Job named on the command line; return its exit code."""
    events = claim_stdout()
    # A shell may have started us with interrupts ignored; a container is stopped by SIGTERM.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.basicConfig(stream=sys.stderr, format="%(name)s: %(message)s")

    writing = threading.Lock()  # the network's thread tells of steps down while tracks go on

    def emit(event: Event, job: str = "") -> None:
        with writing:
            events.write(dump_event(event, **({"job": job} if job else {})) + "\n")
            events.flush()

    if argv == ["--serve"]:
        return _serve(emit)
    return _ended(lambda: _run(argv, emit), emit)


def _ended(work: Callable[[], Done], emit: Callable[[Event], None]) -> int:
    """Do the work of one Job and say how it ended; return the exit code."""
    try:
        last: Done | Failed = work()
    except KeyboardInterrupt:
        last = _failed(InterruptedJob("stopped before the job was done"))
    except SepError as fault:
        last = _failed(fault)
    except BrokenPipeError:
        return ExitCode.INTERRUPTED  # nobody is left to tell
    except Exception as fault:  # the one border where foreign errors are named
        log.exception("job failed")
        last = _failed(_foreign(fault))
    try:
        emit(last)
    except BrokenPipeError:
        return ExitCode.INTERRUPTED
    if isinstance(last, Failed):
        return last.code
    return ExitCode.TRACK_FAILED if last.failed else ExitCode.OK


def claim_stdout() -> TextIO:
    """Keep standard output for events; all that others print, children too, goes to stderr."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    return events


def _run(argv: list[str], emit: Callable[[Event], None]) -> Done:
    watch = "--watch-stdin" in argv
    paths = [arg for arg in argv if arg != "--watch-stdin"]
    if len(paths) != 1 or paths[0].startswith("--"):
        raise UsageError(USAGE)
    try:
        text = Path(paths[0]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise PathError(f"the job file {paths[0]} cannot be read: {fault}") from fault
    job = load_job(text)
    emit(Hello(job=job.id, code=code.digest()))
    if watch:
        _wake_at_its_end()
        threading.Thread(target=_watch, name="launcher-watch", daemon=True).start()
    return _do(job, emit, begun=BEGUN)


def _serve(emit: Callable[[Event, str], None]) -> int:
    """Do Jobs as they come on standard input; return the exit code of the last one."""
    _wake_at_its_end()
    lines: SimpleQueue[bytes] = SimpleQueue()
    busy = threading.Event()
    threading.Thread(target=_listen, args=(lines, busy), name="launcher", daemon=True).start()
    kept, begun = Kept(), BEGUN
    try:
        while line := lines.get():
            ended = _serve_one(line, emit, kept, begun, busy)
            if ended not in (ExitCode.OK, ExitCode.TRACK_FAILED):
                return ended
            begun = 0.0
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.OK


def _serve_one(
    line: bytes,
    emit: Callable[[Event, str], None],
    kept: Kept,
    begun: float,
    busy: threading.Event,
) -> int:
    """Do the Job of one line, which begins now, or began with the process."""
    name = ""

    def tell(event: Event) -> None:
        emit(event, name)

    def work() -> Done:
        nonlocal name
        job = load_job(line.decode("utf-8", "replace"))
        name = job.id
        tell(Hello(job=job.id, code=code.digest()))
        busy.set()
        try:
            return _do(job, tell, begun=begun or time.perf_counter(), kept=kept)
        finally:
            busy.clear()  # before the last word: who hears that may leave

    return _ended(work, tell)


def _listen(lines: SimpleQueue[bytes], busy: threading.Event) -> None:
    """Take the lines of standard input; its end is that of the launcher, and ours."""
    with contextlib.suppress(OSError), os.fdopen(0, "rb", closefd=False) as stdin:
        for line in filter(bytes.strip, stdin):
            busy.set()
            lines.put(line)
    lines.put(b"")
    if busy.is_set():
        _thread.interrupt_main()
        time.sleep(SERVING_GRACE_SECONDS)
        os._exit(ExitCode.INTERRUPTED)


def _do(job: Job, emit: Callable[[Event], None], *, begun: float, kept: Kept | None = None) -> Done:
    """Do a Job; `kept` has the model of the one before, and gets this one's."""
    if job.sweep:
        from sep_runtime.tracks import sweep  # noqa: PLC0415 (only such jobs need it, not torch)

        for folder in job.sweep:
            sweep(Path(folder), host=job.host, of=job.of)
        return Done(done=0, failed=0, seconds=time.perf_counter() - begun)
    if not (kept and kept.model):
        for model in job.models if job.install is None else ():
            if weights := _weights(model):
                digests.begin(weights)
    emit(Phase(name="import"))
    done: Done = _imported().separate(job, emit, begun=begun, kept=kept)
    return done


def _imported() -> ModuleType:
    """Return the module that does the work; torch comes with it."""
    first = "sep_runtime.separate" not in sys.modules
    if first:
        gc.disable()  # of all that torch makes while it is imported nothing is garbage
    try:
        from sep_runtime import separate  # noqa: PLC0415 (hello comes before torch)
    except ImportError as fault:
        if memory.is_short(fault):  # a library is there and could not be mapped
            raise
        raise NotReadyError(
            f"the runtime's environment is not complete: {fault}", hint="run: sep setup --repair"
        ) from fault
    finally:
        if first:
            gc.freeze()  # nor do they become garbage later
            gc.enable()
    return separate


def _weights(model: Model) -> Path | None:
    """Return the file of weights if it is a large one, as all but the bundled are."""
    if model.checkpoint:
        return Path(model.checkpoint)
    return Path(model.folder, WEIGHTS) if model.folder else None


def _wake_at_its_end() -> None:
    """Have the launcher's death continue us: it may have stopped us before, by Ctrl-Z."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 (nowhere else)

        parent_death_signal = 1
        ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGCONT)


def _watch() -> None:
    """End the job when standard input closes: the launcher holds its other end while it lives."""
    try:
        while os.read(0, 1):
            pass
    except OSError:
        pass
    _thread.interrupt_main()
    # A chunk in C code cannot be interrupted. What is left after this is swept by the next run.
    time.sleep(GRACE_SECONDS)
    os._exit(ExitCode.INTERRUPTED)


def _foreign(fault: Exception) -> SepError:
    """Translate what a library raised."""
    if memory.is_short(fault):
        return memory.error(fault)
    text = str(fault).partition("\n")[0] or type(fault).__name__
    return SepError(
        f"unexpected {type(fault).__name__}: {text}",
        hint="a bug in sep: run it again with --verbose and report what it prints",
    )


def _failed(fault: SepError) -> Failed:
    return Failed(
        code=fault.code,
        error=type(fault).__name__,
        message=fault.template,
        hint=fault.command,
        path=fault.path,
    )


if __name__ == "__main__":
    ended = main(sys.argv[1:])
    logging.shutdown()
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    # What we wrote is closed and on the disk; taking torch's modules apart is work for nothing.
    os._exit(ended)
