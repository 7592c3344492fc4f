"""Standard output and stderr: any text goes through, and nothing that becomes of them ends a run.

Whoever reads may go away (`| head`), the disk behind may be full, cron and services close them. A
run goes on to its end all the same; only a result that could not be given is told, once.
"""

from __future__ import annotations

import errno
import io
import os
import re
import select
import sys
from typing import IO, TYPE_CHECKING

from sep_protocol.errors import ExitCode

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

GONE = {errno.EPIPE} | ({errno.EINVAL} if os.name == "nt" else set())  # its reader is
# What a terminal obeys instead of showing it, what ends a line, what turns the reading direction.
HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
BYTES = range(0xDC80, 0xDD00)  # surrogates that stand for bytes which are no text (PEP 383)


def printable(text: str) -> str:
    """Return a text as one line for people: all that is not to be seen is shown by its code."""
    return HIDDEN.sub(_code, text)


def _code(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code in BYTES:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004 (of one byte)


class Sink(io.RawIOBase):
    """A standard stream that never fails: what it cannot take is lost, and the reason kept."""

    def __init__(self, number: int, inner: io.RawIOBase | None) -> None:
        self.fault: OSError | None = None
        self._number = number
        self._inner = inner  # None: it was closed when we started

    def writable(self) -> bool:
        """Say yes."""
        return True

    def fileno(self) -> int:
        """Return the descriptor, for children; it is there even if the stream was closed."""
        return self._number

    def isatty(self) -> bool:
        """Say whether a person may be there."""
        try:
            return self._inner is not None and self._inner.isatty()
        except (OSError, ValueError):
            return False

    def write(self, data: ReadableBuffer) -> int:
        """Take all, or whatever can be given on."""
        size = memoryview(data).nbytes
        if self.fault is None:
            try:
                return self._given(data)
            except OSError as fault:
                self.fault = fault
        return size

    def _given(self, data: ReadableBuffer) -> int:
        if self._inner is None:
            raise OSError(errno.EBADF, "it is closed")
        # None: somebody has made it non-blocking, and its reader is slow.
        while (given := self._inner.write(data)) is None:
            select.select([], [self._number], [])
        return given


def guard() -> None:
    """Put sinks behind the standard streams. Called once, before anything is opened."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # else the next file that is opened would be somebody's stderr
            os.open(os.devnull, os.O_RDWR)
    standard: dict[str, IO[str] | None] = vars(sys)  # their types do not know of closed ones
    if standard["stdin"] is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115 (for good)
    sys.stdout = _guarded(1, sys.stdout)
    sys.stderr = _guarded(2, sys.stderr)


def _guarded(number: int, stream: IO[str] | None) -> io.TextIOWrapper:
    buffer = getattr(stream, "buffer", None)
    sink = Sink(number, getattr(buffer, "raw", buffer))
    return io.TextIOWrapper(
        io.BufferedWriter(sink),
        encoding=getattr(stream, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )


def ended(code: int) -> int:
    """Return the exit code: another one where a result could not be written and all else was well.

    That a reader went away is no fault: it had what it wanted.
    """
    fault = _fault(sys.stdout)
    if fault is None or fault.errno in GONE:
        return code
    sys.stderr.write(f"error: standard output cannot be written: {fault.strerror}\n")
    return code or ExitCode.PATH


def _fault(stream: object) -> OSError | None:
    if not isinstance(stream, io.TextIOWrapper):
        return None
    stream.flush()
    sink = getattr(stream.buffer, "raw", None)
    return sink.fault if isinstance(sink, Sink) else None
