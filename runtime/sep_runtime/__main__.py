"""`python -m sep_runtime [--watch-stdin] JOB`: one Job file in, Events on standard output."""

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

if TYPE_CHECKING:
    from collections.abc import Callable

    from sep_protocol import Event, Model

BEGUN = time.perf_counter()
GRACE_SECONDS = 20.0  # between the launcher's end and ours, whatever a chunk takes

log = logging.getLogger("sep_runtime")


def main(argv: list[str]) -> int:
    """Run the Job named on the command line; return its exit code."""
    events = claim_stdout()
    # A shell may have started us with interrupts ignored; a container is stopped by SIGTERM.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.basicConfig(stream=sys.stderr, format="%(name)s: %(message)s")

    writing = threading.Lock()  # the network's thread tells of steps down while tracks go on

    def emit(event: Event) -> None:
        with writing:
            events.write(dump_event(event) + "\n")
            events.flush()

    try:
        last: Done | Failed = _run(argv, emit)
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
    if len(paths) != 1:
        raise UsageError("usage: python -m sep_runtime [--watch-stdin] JOB")
    try:
        text = Path(paths[0]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise PathError(f"the job file {paths[0]} cannot be read: {fault}") from fault
    job = load_job(text)
    emit(Hello(job=job.id, code=code.digest()))
    if watch:
        _wake_at_its_end()
        threading.Thread(target=_watch, name="launcher-watch", daemon=True).start()
    if job.sweep:
        from sep_runtime.tracks import sweep  # noqa: PLC0415 (only such jobs need it, not torch)

        for folder in job.sweep:
            sweep(Path(folder), host=job.host, of=job.of)
        return Done(done=0, failed=0, seconds=time.perf_counter() - BEGUN)
    for model in job.models if job.install is None else ():
        if weights := _weights(model):
            digests.begin(weights)
    emit(Phase(name="import"))
    gc.disable()  # of all that torch makes while it is imported nothing is garbage
    try:
        from sep_runtime.separate import separate  # noqa: PLC0415 (hello comes before torch)
    except ImportError as fault:
        if memory.is_short(fault):  # a library is there and could not be mapped
            raise
        raise NotReadyError(
            f"the runtime's environment is not complete: {fault}", hint="run: sep setup --repair"
        ) from fault
    finally:
        gc.freeze()  # nor do they become garbage later
        gc.enable()
    return separate(job, emit, begun=BEGUN)


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
