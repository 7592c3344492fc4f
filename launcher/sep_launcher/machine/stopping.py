"""Signals that end a command, heard as KeyboardInterrupt; and one command at a time.

Python gives signals to the main thread alone: in another one, as of a page, none is heard, and who
ends a run there raises KeyboardInterrupt in its engine.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from sep_protocol.errors import PathError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into KeyboardInterrupt; what is ignored (nohup) stays ignored."""
    if not _hears():
        yield
        return
    stopping = {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}
    before = {
        each: signal.signal(each, signal.default_int_handler)
        for each in stopping
        if signal.getsignal(each) != signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def deaf() -> Iterator[None]:
    """Hear no Ctrl-C while something short is brought to its end."""
    if not _hears():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _hears() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextmanager
def pausable(pause: Callable[[], None], go_on: Callable[[], None]) -> Iterator[None]:
    """Call `pause` before Ctrl-Z stops this process, and `go_on` when it continues.

    Both are called by a signal, whatever is being done at that moment.
    """
    if (
        sys.platform == "win32"
        or not _hears()
        or signal.getsignal(signal.SIGTSTP) != signal.SIG_DFL
    ):
        yield
        return

    def stop(number: int, _frame: FrameType | None) -> None:
        pause()
        signal.signal(number, signal.SIG_DFL)
        try:
            os.kill(os.getpid(), number)  # here we stop, and are back when we are to go on
        finally:  # `kill` of a stopped job: it continues, and is interrupted at once
            signal.signal(number, stop)
            go_on()

    signal.signal(signal.SIGTSTP, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)


@contextmanager
def alone(path: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Hold a lock that ends with this process; `wait` is called once if another one holds it.

    Raises PathError where it cannot be made.
    """
    told = False

    def wait_once() -> None:
        nonlocal told
        if not told:
            told = True
            wait()

    while True:
        file = _opened(path)
        with file:
            _lock(file, wait_once)
            # Who held it may have taken it away; then it keeps nobody out any more.
            if _is_at(path, file):
                yield
                return


def _opened(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        return os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)
    except OSError as fault:
        raise PathError(f"{path} cannot be written: {fault.strerror}") from fault


def _is_at(path: Path, file: IO[bytes]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except OSError:
        return False


def _lock(file: IO[bytes], wait: Callable[[], None]) -> None:
    if sys.platform == "win32":  # never run on Windows
        import msvcrt  # noqa: PLC0415

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            wait()
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
    else:
        import fcntl  # noqa: PLC0415

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wait()
            fcntl.flock(file, fcntl.LOCK_EX)
