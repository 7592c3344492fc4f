"""What the pages are told: numbered events, so that none is lost or comes twice.

Written by the threads that work, read by the server's loop.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

RING = 1000  # events that a page may have missed; who missed more asks for everything again
ALIVE_SECONDS = 15.0  # between two signs that the stream lives


class Feed:
    """Events with numbers, each one more than the one before."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._ring: deque[tuple[int, str]] = deque(maxlen=RING)
        # Not from 1: a tab that slept while the server was started anew must see that.
        self._number = time.time_ns() // 1_000_000
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._over = False

    def put(self, kind: str, /, **about: Any) -> None:  # noqa: ANN401 (JSON)
        """Tell all pages something."""
        with self._lock:
            self._number += 1
            self._ring.append((self._number, json.dumps({"kind": kind, **about})))
            self._wake()

    def bye(self) -> None:
        """End all streams: the server ends."""
        with self._lock:
            self.put("bye")
            self._over = True

    def _wake(self) -> None:
        for loop, event in self._waiting:
            loop.call_soon_threadsafe(event.set)

    def snapshot(self, look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what `look` gives and the number of the last event that is in it.

        Nothing is told meanwhile; who changes what `look` gives does so within `changing`.
        """
        with self._lock:
            return {"number": self._number, **look()}

    @property
    def changing(self) -> threading.RLock:
        """Hold this to change something and to tell it as one."""
        return self._lock

    def _after(self, number: int) -> list[tuple[int, str]] | None:
        """Return the events after this one, None where some of them are no longer here."""
        with self._lock:
            first = self._ring[0][0] if self._ring else self._number + 1
            if number + 1 < first or number > self._number:
                return None
            return [each for each in self._ring if each[0] > number]

    async def stream(self, after: int) -> AsyncIterator[str]:
        """Yield the events after this one as a stream of text/event-stream, until `bye`.

        A page that missed too much gets `again`, and asks for everything.
        """
        event = asyncio.Event()
        entry = (asyncio.get_running_loop(), event)
        with self._lock:
            self._waiting.add(entry)
        try:
            while True:
                event.clear()
                found = self._after(after)
                if found is None:
                    yield 'data: {"kind": "again"}\n\n'
                    return
                for number, text in found:
                    yield f"id: {number}\ndata: {text}\n\n"
                    after = number
                if self._over and after == self._number:
                    return
                try:
                    await asyncio.wait_for(event.wait(), ALIVE_SECONDS)
                except TimeoutError:
                    yield ": here\n\n"
        finally:
            with self._lock:
                self._waiting.discard(entry)
