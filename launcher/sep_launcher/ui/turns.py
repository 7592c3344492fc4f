"""One thing after the other: the thread that works, and what a person may say to it."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sep_launcher.ui.face import Face
from sep_protocol.errors import SepError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sep_launcher.ui.feed import Feed
    from sep_launcher.ui.kept import Keeper
    from sep_launcher.ui.tasks import Existing, Song, Task
    from sep_protocol import TrackDone

REST_SECONDS = 600.0  # without work, after which the runtime gives its memory back
END_SECONDS = 20.0


class Queue:
    """The tasks of all pages, in the order in which they came; one is done at a time.

    `keep` gets every track that is done, `drop` the name of every batch that nobody needs any more.
    """

    def __init__(
        self,
        feed: Feed,
        keeper: Keeper,
        keep: Callable[[Song, TrackDone, str], None],
        drop: Callable[[str], None],
    ) -> None:
        self._feed = feed
        self._keeper = keeper
        self._keep = keep
        self._drop = drop
        self.tasks: dict[str, Task] = {}
        self._orders: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._now: Task | None = None
        self._ending = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def add(self, task: Task) -> None:
        """Do something when its turn comes."""
        with self._feed.changing:
            self.tasks[task.id] = task
            self._order(task)

    def _order(self, task: Task) -> None:
        task.state, task.question = "waiting", None
        self._feed.put("task", task=task.document())
        self._orders.put(task)

    def cancel(self, task: Task) -> None:
        """End it, or do not begin with it."""
        with self._feed.changing:
            if not task.is_open:
                return
            task.halted = True
            if task is self._now:
                self._keeper.halt.set()
                return
            task.state, task.question = "cancelled", None
            self._spend(task)
            self._feed.put("task", task=task.document())

    def again(self, task: Task, existing: Existing, *, agreed: bool = False) -> None:
        """Do it once more: what is done already stays, or is made anew."""
        with self._feed.changing:
            task.existing, task.agreed, task.halted = existing, agreed, False
            self._order(task)

    def forget(self, task: Task) -> None:
        """Take away what has ended; nothing happens to what goes on."""
        with self._feed.changing:
            if task.is_open:
                return
            self.tasks.pop(task.id, None)
            self._spend(task)
            self._feed.put("gone", task=task.id)

    def _spend(self, task: Task) -> None:
        """Delete the copies of a task, unless another one is of them, too."""
        others = [each for each in self.tasks.values() if each is not task and not each.spent]
        task.spent = bool(task.upload)
        if task.upload and not any(each.upload == task.upload for each in others):
            threading.Thread(target=self._drop, args=(task.upload,), daemon=True).start()

    def document(self) -> list[dict[str, Any]]:
        """Return what the page sees."""
        return [each.document() for each in self.tasks.values()]

    def end(self) -> None:
        """End what is being done, and the runtime; nothing begins any more."""
        with self._feed.changing:
            self._ending = True
            if self._now is not None:
                self._now.halted = True
            self._keeper.halt.set()
        self._orders.put(None)
        self._thread.join(END_SECONDS)
        self._keeper.rest()
        _end_children()

    @property
    def busy(self) -> bool:
        """Say whether something is being done."""
        return self._now is not None

    def _work(self) -> None:
        while True:
            try:
                task = self._orders.get(timeout=REST_SECONDS)
            except queue.Empty:
                self._keeper.rest()
                continue
            if task is None:
                return
            with self._feed.changing:
                if self._ending or task.state != "waiting":
                    continue  # cancelled, or ordered twice
                self._now = task
                self._keeper.halt.clear()
                task.begin()
                self._feed.put("task", task=task.document())
            try:
                self._do(task)
            except Exception:  # noqa: BLE001 (a bug in telling it must not end this thread)
                task.state = "failed"
            finally:
                with self._feed.changing:
                    self._now = None

    def _do(self, task: Task) -> None:
        if task.kind != "run":
            self._keeper.rest()  # what is set up is its environment
        face = Face(task, self._feed, self._keep)
        try:
            task.work(face)
        except KeyboardInterrupt:
            task.halted = True
            face.close()
        except Exception as fault:  # noqa: BLE001 (the next task is to be done whatever this is)
            face.fault(SepError(f"unexpected {type(fault).__name__}: {fault}"))
            face.close()


def _end_children() -> None:
    """Kill what a task that did not hear its end has left: an installer would go on for minutes."""
    import psutil  # noqa: PLC0415 (20 ms)

    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            each.kill()
