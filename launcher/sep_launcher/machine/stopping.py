"""Signals that end a command, heard as KeyboardInterrupt; and one command at a time."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sep_protocol.errors import PathError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into KeyboardInterrupt; what is ignored (nohup) stays ignored."""
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
def alone(path: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Hold a lock that ends with this process; `wait` is called once if another one holds it.

    Raises PathError where it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = path.open("ab")
    except OSError as fault:
        raise PathError(f"{path.parent} cannot be written: {fault.strerror}") from fault
    with opened as file:
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
        yield
