"""The frames of a container's streams to lines, bounded whatever it writes."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from sep_launcher.engines import EVENT_BYTES, LOG_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from sep_launcher.engines.docker.daemon import Attached

    Line = tuple[bool, str]  # is it standard output, and the text

WAITING = 64  # lines that were heard and not taken yet


def lines(attached: Attached | None) -> Generator[Line, None, None]:
    """Yield the lines of both streams; frames are cut anywhere, even in a character."""
    heard: queue.Queue[Line | None] = queue.Queue(WAITING)
    closed = threading.Event()

    def put(found: Line | None) -> None:
        while not closed.is_set():
            try:
                heard.put(found, timeout=0.2)
            except queue.Full:
                continue
            return

    threading.Thread(target=pump, args=(attached, put), daemon=True).start()
    try:
        while True:
            # With a timeout, so that Ctrl-C is heard on Windows, too.
            try:
                found = heard.get(timeout=0.2)
            except queue.Empty:
                continue
            if found is None:
                return
            yield found
    finally:
        closed.set()


def pump(attached: Attached | None, put: Callable[[Line | None], None]) -> None:
    """Put every line, then None; one that is longer than its stream may have in pieces."""
    rests = {True: b"", False: b""}
    try:
        for is_out, data in attached.frames() if attached else ():
            most = EVENT_BYTES if is_out else LOG_BYTES
            *whole, rest = (rests[is_out] + data).split(b"\n")
            while len(rest) > most:
                whole, rest = [*whole, rest[:most]], rest[most:]
            rests[is_out] = rest
            for line in whole:
                put((is_out, _text(line)))
        for is_out, rest in rests.items():
            if rest:
                put((is_out, _text(rest)))
    finally:
        put(None)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r")
