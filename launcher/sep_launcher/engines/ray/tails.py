"""What the runtimes of workers wrote to their stderr, kept where the run's other notes are.

Ray's own logs lie in the temporary folders of nodes that may be gone when somebody asks.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 64 << 10  # of one worker's file; the one before it is kept, too


class Tails:
    """Call it with a worker's name and a line: it goes to the end of `<folder>/<worker>.log`.

    A full file becomes `<worker>.log.1`. What cannot be written stops nobody.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def __call__(self, worker: str, line: str) -> None:
        """Keep a line."""
        file = self._folder / f"{worker}.log"
        with self._lock, suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            with file.open("a", encoding="utf-8", errors="backslashreplace") as log:
                log.write(line + "\n")
                full = log.tell() > MOST_BYTES
            if full:
                file.replace(file.with_name(f"{file.name}.1"))
