"""A stage of a pipeline on a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

T = TypeVar("T")
POLL_SECONDS = 0.1  # how soon a stage that waits notices that it is no longer wanted


class _End:
    """What a stage says last: that it is done, or what stopped it."""

    def __init__(self, fault: BaseException | None) -> None:
        self.fault = fault


class Ahead(Generic[T]):
    """Iterate over items that a thread prepares, at most `depth` ahead.

    What the items raise is raised here. Leaving the `with` block stops the thread and waits until
    the item in work is done.
    """

    def __init__(self, items: Iterable[T], depth: int) -> None:
        self._queue: queue.Queue[T | _End] = queue.Queue(depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(items,), daemon=True)

    def _work(self, items: Iterable[T]) -> None:
        fault: BaseException | None = None
        try:
            for item in items:
                if not self._put(item):
                    return
        except BaseException as caught:  # noqa: BLE001 (it is raised again on the other side)
            fault = caught
        finally:
            if isinstance(items, Generator):
                items.close()  # here, so that its own threads are gone before this one is
        self._put(_End(fault))

    def _put(self, item: T | _End) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

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

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        return self._next(lambda: None)

    def meanwhile(self, idle: Callable[[], None]) -> Iterator[T]:
        """Iterate; `idle` is called now and then while there is nothing."""
        with suppress(StopIteration):
            while True:
                yield self._next(idle)

    def _next(self, idle: Callable[[], None]) -> T:
        while True:  # with a time limit, so that Ctrl-C is heard on Windows too
            try:
                item = self._queue.get(timeout=POLL_SECONDS)
                break
            except queue.Empty:
                idle()
        if not isinstance(item, _End):
            return item
        self._queue.put(item)  # whoever asks again hears it again
        if item.fault is not None:
            raise item.fault
        raise StopIteration
