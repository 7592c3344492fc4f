"""An Engine around another one that a button ends, as Ctrl-C does a command."""

from __future__ import annotations

import queue
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

from sep_launcher.engines.around import Around

if TYPE_CHECKING:
    from collections.abc import Generator

    from sep_launcher.engines import Engine
    from sep_launcher.planning.plan import Plan
    from sep_protocol import Event

LOOK_SECONDS = 0.1  # between two looks at the button
AGAIN_SECONDS = 0.5
JOIN_SECONDS = 30.0


class Halting(Around):
    """An Engine around another one: `halt` raises KeyboardInterrupt in who hears its events.

    That is what Ctrl-C does to a command; a page's run is in a thread that gets no signals. One
    that is `kept` lives on after a run that came to its end.
    """

    def __init__(self, inner: Engine, halt: threading.Event, *, kept: bool) -> None:
        super().__init__(inner)
        self._halt = halt
        self._kept = kept
        self._whole = True  # whether nothing is being done
        self._thread = threading.Thread()

    def start(self, plan: Plan) -> Generator[Event, None, None]:
        """Yield the events; raise KeyboardInterrupt when the button is pressed."""
        news: queue.SimpleQueue[Event | BaseException | None] = queue.SimpleQueue()

        def hear() -> None:
            try:
                with closing(self._inner.start(plan)) as heard:
                    for event in heard:
                        news.put(event)
                news.put(None)
            except BaseException as why:  # noqa: BLE001 (it is raised where it is waited for)
                news.put(why)

        self._whole = False
        self._thread = threading.Thread(target=hear, daemon=True)
        self._thread.start()
        while True:
            if self._halt.is_set():
                raise KeyboardInterrupt
            try:
                item = news.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
            if item is None:
                self._whole = True
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def stop(self) -> None:
        """End the runtime, unless it has done its work and is kept."""
        if self._kept and self._whole:
            return
        end = time.monotonic() + JOIN_SECONDS
        self._inner.stop()
        while self._thread.is_alive() and time.monotonic() < end:
            self._thread.join(AGAIN_SECONDS)  # it may have been about to begin
            self._inner.stop()
        self._inner.kill()
