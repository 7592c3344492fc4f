"""A last stage of a pipeline on a thread of its own."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from sep_runtime.streams.ahead import POLL_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

T = TypeVar("T")


class Behind(Generic[T]):
    """Give items to `take` on a thread, at most `depth` of them waiting; `last` ends the work.

    What either raises is raised by the next `put`, or by `finish`, which waits for the end.
    Leaving the `with` block stops the thread and waits until the item in work is done; without
    `finish`, `last` is not called.
    """

    def __init__(
        self, take: Callable[[T], None], last: Callable[[], None], depth: int, name: str
    ) -> None:
        self.seconds = 0.0  # of work
        self._take, self._last = take, last
        self._queue: queue.Queue[T | None] = queue.Queue(depth)  # None: the end
        self._stopped = threading.Event()
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def put(self, item: T) -> None:
        """Hand over an item; wait while `depth` of them are there."""
        self._put(item)

    def end(self) -> None:
        """Say that there are no more items, so that the last of them can be done meanwhile."""
        self._put(None)

    def finish(self) -> None:
        """Wait until all is done, after `end`; raise what went wrong."""
        while self._thread.is_alive():  # with a time limit, so that Ctrl-C is heard on Windows too
            self._thread.join(POLL_SECONDS)
        self._check()

    def _put(self, item: T | None) -> None:
        while True:
            self._check()
            try:
                self._queue.put(item, timeout=POLL_SECONDS)
            except queue.Full:
                continue
            return

    def _check(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _work(self) -> None:
        try:
            while (item := self._get()) is not None:
                begun = time.perf_counter()
                self._take(item)
                self.seconds += time.perf_counter() - begun
                del item  # not held while the next one is waited for
            if not self._stopped.is_set():
                begun = time.perf_counter()
                self._last()
                self.seconds += time.perf_counter() - begun
        except BaseException as caught:  # noqa: BLE001 (it is raised again on the other side)
            self._fault = caught

    def _get(self) -> T | None:
        """Return the next item, None at the end or when the work is no longer wanted."""
        while not self._stopped.is_set():
            try:
                return self._queue.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
        return None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join()
