"""A worker of a pool: a thread that hands leases to an engine, and tells all that it hears."""

from __future__ import annotations

import queue
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from sep_launcher.engines import Placed
from sep_launcher.library.leases import Lease
from sep_launcher.planning.plan import Plan
from sep_protocol.errors import SepError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from sep_launcher.engines import Engine
    from sep_launcher.planning.workers import Worker
    from sep_protocol import Event, Failed

# What a worker is to do: a lease, look where it is now, go to another machine, or leave.
Order = tuple[Plan, Lease] | Literal["look", "move"] | None


@dataclass(slots=True, kw_only=True)
class Hand:
    """A worker at work."""

    worker: Worker
    engine: Engine
    inbox: queue.SimpleQueue[Order] = field(default_factory=queue.SimpleQueue)
    node: str = ""
    lease: Lease | None = None
    heard: float = 0.0  # when it gave a sign
    track: int | None = None  # of the run, that it is at
    last: Failed | None = None  # its Job's last word, where that was no good one
    hung: str = ""  # why it was killed by us
    said: set[str] = field(default_factory=set)  # what need not be said again
    coming: bool = True  # whether it waits for its place
    clock: Callable[[], float] = time.monotonic
    killed: float | None = None  # when, for having hung
    killer: threading.Thread | None = None
    given_up: bool = False  # nothing that it says counts any more

    @property
    def place(self) -> str:
        """What a death may be the fault of: one GPU of a machine, or all of it."""
        device = self.worker.device
        return f"{device} of {self.node}" if device.startswith("cuda:") else self.node


@dataclass(frozen=True, slots=True)
class Heard:
    """A worker's runtime said something."""

    hand: Hand
    lease: Lease
    event: Event


@dataclass(frozen=True, slots=True)
class Ended:
    """A worker is through with a lease, or something ended it."""

    hand: Hand
    lease: Lease
    fault: SepError | None


@dataclass(frozen=True, slots=True)
class Joined:
    """A worker has its place."""

    hand: Hand
    node: str


@dataclass(frozen=True, slots=True)
class Left:
    """A worker has no place, and will have none."""

    hand: Hand
    fault: SepError


Message = Heard | Ended | Joined | Left


def work(hand: Hand, news: queue.SimpleQueue[Message], stopping: threading.Event) -> None:
    """Be a worker: do what it is ordered until there is None; tell everything."""
    order: Order = "look"
    while order is not None and not stopping.is_set():
        if isinstance(order, tuple):
            plan, lease = order
            news.put(Ended(hand, lease, _done(hand, plan, lease, news)))
        elif fault := _placed(hand, order, news):
            news.put(Left(hand, fault))
            return
        order = hand.inbox.get()
    if isinstance(hand.engine, Placed):
        hand.engine.close()


def _placed(
    hand: Hand, order: Literal["look", "move"], news: queue.SimpleQueue[Message]
) -> SepError | None:
    """Wait for a place and tell it; return why there is none."""
    try:
        if order == "move" and isinstance(hand.engine, Placed):
            hand.engine.avoid()
        news.put(Joined(hand, hand.engine.ready()))
    except SepError as why:
        return why
    except Exception as why:  # noqa: BLE001 (as below)
        return SepError(f"unexpected {type(why).__name__}: {why}")
    return None


def _done(
    hand: Hand, plan: Plan, lease: Lease, news: queue.SimpleQueue[Message]
) -> SepError | None:
    """Do a lease and tell its events; return what ended it early, if anything did."""
    try:
        with closing(hand.engine.start(plan)) as heard:
            for event in heard:
                hand.heard = hand.clock()  # now, whenever it is looked at
                news.put(Heard(hand, lease, event))
    except SepError as why:
        return why
    except Exception as why:  # noqa: BLE001 (a bug here must not leave the others waiting)
        return SepError(f"unexpected {type(why).__name__}: {why}")
    return None
