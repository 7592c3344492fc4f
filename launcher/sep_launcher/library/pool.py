"""Many workers on one queue of tracks: an Engine made of Engines.

Each worker is a thread that hands leases to a runtime which is kept, and all that it hears to the
one thread that decides. That one alone changes the leases, so nothing here is locked; `may_store`
only looks, from any thread.
"""

from __future__ import annotations

import math
import os
import platform
import queue
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from sep_launcher.engines import LostError, Placed
from sep_launcher.library.hands import Ended, Hand, Heard, Joined, Left, work
from sep_launcher.library.leases import DEATHS, Leases
from sep_launcher.library.ledger import RETRY
from sep_launcher.library.tasks import job_id, lease_job, part_of
from sep_launcher.planning import finished
from sep_launcher.planning.workers import By
from sep_protocol import (
    DeviceChosen,
    Done,
    Failed,
    Fallback,
    Hello,
    ModelLoaded,
    Phase,
    TrackDone,
    TrackFailed,
    Warned,
    errors,
)
from sep_protocol.errors import (
    DiskFullError,
    ExitCode,
    MemoryLimitError,
    QuarantinedError,
    RuntimeFailedError,
    SepError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from sep_launcher.engines import Engine
    from sep_launcher.library.hands import Message
    from sep_launcher.library.leases import Blame, Lease
    from sep_launcher.library.ledger import Ledger
    from sep_launcher.planning.plan import Plan
    from sep_launcher.planning.workers import Worker
    from sep_protocol import Event, Job

    Make = Callable[[Worker, Callable[[str, int], bool]], Engine]

TICK_SECONDS = 0.5
IDLE_SECONDS = 30.0  # after so many without work a worker of a cluster gives its place back
ROOM_SECONDS = 30.0  # after so many without any worker it is told that the run waits for room
GAP_SECONDS = 5.0  # a turn of the loop that took longer was held up
UNKILLED_SECONDS = 60.0  # after so many a process that was killed will never end
JOIN_SECONDS = 5.0
HANG_VARIABLE = "SEP_HANG_SECONDS"
LEAST_HANG_SECONDS = 120.0
HANG = 10  # times what a track is expected to take, without a sign
UNKNOWN_HANG_SECONDS = 900.0  # while no track is done: large models load long from slow disks


def hang_seconds() -> float | None:
    """Return after how long without a sign a runtime is taken for dead, as the user has said it.

    Raises UsageError for what is no such time.
    """
    text = os.environ.get(HANG_VARIABLE)
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise UsageError(f"{HANG_VARIABLE} must be seconds above 0, not {text!r}")
    return seconds


class Pool:
    """An Engine of many; `make` gives each worker its own, the ledger is told of everything.

    `make` gets `may_store`, which tells an engine whether a track is still its own.
    `known` are tracks of which it is known how they end: nobody gets them. `alike` says that all
    workers are on this machine: what ends one for the machine's sake ends the run.
    """

    def __init__(
        self,
        make: Make,
        ledger: Ledger,
        *,
        known: Mapping[int, TrackDone | TrackFailed] | None = None,
        alike: bool = True,
        hang: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._by: By | None = None
        self.leases = Leases(())
        self._died: list[Job] = []
        self._plan: Plan
        self._make = make
        self._alike = alike
        self._hang = hang
        self._ledger = ledger
        self._known = known or {}
        self._clock = clock
        self._hands: list[Hand] = []
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._news: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._told_banned: set[str] = set()
        self._last: SepError | None = None  # what the last runtime that died said
        self._phases: dict[str, float] = {}  # seconds of each kind of work, of all together
        self._faults: list[SepError] = []  # of workers that left
        self._alone: float | None = None  # since when no worker has a place; None: that is told

    def ready(self) -> str:
        """Return the name of this machine; each worker is waited for by itself."""
        return platform.node()

    @property
    def by(self) -> By | None:
        """Who said the event that was yielded last; None: the pool itself."""
        return self._by

    @property
    def begun(self) -> list[Job]:
        """The Jobs that may have left something: of runtimes that died, and that still work."""
        held = [(hand.worker, hand.lease) for hand in self._hands if hand.lease]
        return [*self._died, *(lease_job(self._plan, worker, lease) for worker, lease in held)]

    def start(self, plan: Plan) -> Generator[Event, None, None]:
        """Yield the events of all workers, their tracks numbered as in the plan; Done at the end.

        Raises the SepError of a worker where no other can go on.
        """
        begun = self._alone = self._clock()
        self._plan = plan
        self.leases = Leases(plan.sizes)
        for track, event in sorted(self._known.items()):
            self.leases.settle(track, "done" if isinstance(event, TrackDone) else "failed")
            self._ledger.note(event, None)
            yield event
        self._hands = [
            Hand(worker=each, engine=self._make(each, self.may_store), clock=self._clock)
            for each in plan.workers
        ]
        self._threads = [
            threading.Thread(target=work, args=(hand, self._news, self._stopping), daemon=True)
            for hand in self._hands
        ]
        for thread in self._threads:
            thread.start()
        turn = self._clock()
        while not self.leases.over:
            self._ledger.tick()
            turn = self._excuse(turn)
            yield from self._kill_the_hung()
            with suppress(queue.Empty):
                yield from self._take(self._news.get(timeout=TICK_SECONDS))
            self._grant()
            yield from self._wait_for_room()
        self._let_go()
        states = self.leases.states
        done, seconds = states.count("done"), self._clock() - begun
        self._by = None
        yield Done(done=done, failed=len(states) - done, seconds=seconds, phases=self._phases)

    def _excuse(self, turn: float) -> float:
        """Hold nothing against workers that we did not hear: a terminal or a store kept us."""
        now = self._clock()
        if (gap := now - turn) > GAP_SECONDS:
            for hand in self._hands:
                hand.heard += gap
        return now

    def _wait_for_room(self) -> Iterator[Event]:
        """Tell that no worker has a place, once; raise the reason where none will come."""
        if not self.leases.stuck:
            self._alone = self._clock()
        elif not any(hand.coming for hand in self._hands):
            raise self._end()
        elif self._alone is not None and self._clock() - self._alone > ROOM_SECONDS:
            self._alone = None
            self._by = None
            yield Warned(message="no machine has room for a worker now; the run waits for one")

    def may_store(self, job: str, index: int) -> bool:
        """Say whether a lease's Job still has a track, by its index there; called by any thread."""
        held = (hand.lease for hand in self._hands)
        lease = next((each for each in held if each and job_id(self._plan, each) == job), None)
        return lease is not None and self.leases.is_current(lease.number, lease.tracks[index])

    def _take(self, news: Message) -> Iterator[Event]:
        """Take one message; yield what it means for the run."""
        hand = news.hand
        if hand.given_up:
            return
        match news:
            case Joined():
                hand.node, hand.coming = news.node, False
                self.leases.join(hand.worker.name, hand.place)
            case Left():
                yield from self._leave(hand, news.fault)
            case Heard():
                yield from self._hear(hand, news.lease, news.event)
            case Ended():
                yield from self._over(hand, news.lease, news.fault)

    def _hear(self, hand: Hand, lease: Lease, event: Event) -> Iterator[Event]:
        """Take an event of a lease; yield it with the run's own number of its track."""
        index = getattr(event, "track", None)
        attempt = None if index is None else lease.attempts[index]
        event = finished.renumbered(event, lease.tracks)
        counts = True
        match event:
            case Phase(name="separate", track=int(track)):
                hand.track = track
                self.leases.begin(lease.number, track)
            case TrackDone():
                seconds = 0.0 if event.resumed else event.seconds
                counts = self.leases.done(lease.number, event.track, seconds)
            case TrackFailed():
                full = event.error == DiskFullError.__name__ and not self._alike
                if full and self.leases.refuse(lease.number, event.track):
                    yield from self._banned(hand.place, "the disk is full there")
                    return
                counts = self.leases.fail(lease.number, event.track)
            case Failed():
                hand.last = event
            case Done():
                for name, seconds in event.phases.items():
                    self._phases[name] = self._phases.get(name, 0.0) + seconds
            case _:
                pass
        if counts and not isinstance(event, Done | Failed):
            yield from self._told(hand, event, attempt)

    def _over(self, hand: Hand, lease: Lease, fault: SepError | None) -> Iterator[Event]:
        """Take the end of a lease, however it came; yield what became of its track."""
        if fault is None and hand.last is not None:
            fault = _error(hand.last)
        if hand.hung and fault is not None:
            fault = RuntimeFailedError(hand.hung)
        hand.killed = None
        hand.lease = hand.track = hand.last = None
        hand.hung = ""
        if fault is None:
            self.leases.close(lease.number)
            return
        self._died.append(lease_job(self._plan, hand.worker, lease))
        blame = _blame(fault)
        poison = self.leases.died(lease.number, blame)
        if blame in ("track", "memory"):
            self._last = fault
            yield from self._retried(hand, lease, poison, fault)
        elif not isinstance(fault, LostError):
            yield from self._leave(hand, fault)
            return
        else:
            again = f"{hand.worker.name}: {fault.message}; its tracks are tried again"
            yield from self._told(hand, Warned(message=again))
            self._send(hand, "look")
        if self.leases.is_banned(hand.place):
            why = f"{DEATHS} tracks or workers died there in a row"
            yield from self._banned(hand.place, why)

    def _send(self, hand: Hand, order: Literal["look", "move"]) -> None:
        """Have a worker say where it is, or go elsewhere first; until then it gets nothing."""
        self.leases.leave(hand.worker.name)
        hand.coming = True
        hand.inbox.put(order)

    def _banned(self, place: str, why: str) -> Iterator[Event]:
        """Tell that a machine, or a GPU, gets nothing more; who can leave it does."""
        if place in self._told_banned:
            return
        self._told_banned.add(place)
        for hand in self._hands:
            here = hand.place == place and self.leases.has(hand.worker.name)
            if here and hand.lease is None and isinstance(hand.engine, Placed):
                self._send(hand, "move")
        self._by = None
        event = Warned(message=f"{place} gets nothing more: {why}")
        self._ledger.note(event, None)
        yield event

    def _retried(
        self, hand: Hand, lease: Lease, poison: int | None, fault: SepError
    ) -> Iterator[Event]:
        """Tell that a track is tried again, or is not any more."""
        if poison is None:
            again = f"{hand.worker.name}: {fault.message}; its track is tried again"
            yield from self._told(hand, Warned(message=again))
            return
        count = self.leases.deaths(poison)
        gone = TrackFailed(
            track=poison,
            error=QuarantinedError.__name__,
            message=f"the runtime died at it {count} times: {fault.message}",
            hint=RETRY,
        )
        yield from self._told(hand, gone, lease.attempts[lease.tracks.index(poison)])

    def _told(self, hand: Hand, event: Event, attempt: int | None = None) -> Iterator[Event]:
        """Yield an event that is news: a runtime says of each Job where it is done."""
        if isinstance(event, DeviceChosen | ModelLoaded | Fallback | Hello):
            known = repr(replace(event, job="") if isinstance(event, Hello) else event)
            if known in hand.said:
                return
            hand.said.add(known)
        self._by = By(worker=hand.worker, node=hand.node, attempt=attempt)
        self._ledger.note(event, self._by)
        yield event

    def _grant(self) -> None:
        """Give every worker that has nothing a lease, as far as there are some for it."""
        for hand in self._hands:
            if hand.lease is not None or not self.leases.has(hand.worker.name):
                continue
            if hand.killer is not None and hand.killer.is_alive():
                continue  # it would take what is given now
            if self.leases.is_banned(hand.place) and isinstance(hand.engine, Placed):
                self._send(hand, "move")
                continue
            lease = self.leases.ask(hand.worker.name)
            if lease is not None:
                hand.lease, hand.heard = lease, self._clock()
                hand.inbox.put((part_of(self._plan, hand.worker, lease), lease))
            elif self._is_needless(hand):
                self.leases.leave(hand.worker.name)
                hand.inbox.put(None)

    def _is_needless(self, hand: Hand) -> bool:
        """Say whether a worker's place may be given back: it has waited, and nothing waits."""
        idle = self._clock() - hand.heard > IDLE_SECONDS and not self.leases.waiting
        # One stays: what dies elsewhere must be tried by another.
        free = [each for each in self._hands if each.lease is None and not each.coming]
        free = [each for each in free if self.leases.has(each.worker.name)]
        return idle and len(free) > 1 and isinstance(hand.engine, Placed)

    def _leave(self, hand: Hand, fault: SepError) -> Iterator[Event]:
        """Give a worker nothing more. On one machine the others cannot do better: all end."""
        self.leases.leave(hand.worker.name)
        hand.coming = False
        hand.inbox.put(None)
        self._faults.append(fault)
        if self._alike:
            raise fault
        where = f" on {hand.node}" if hand.node else ""
        left = f"{hand.worker.name}{where} leaves: {fault.message}"
        yield from self._told(hand, Warned(message=left))

    def _end(self) -> SepError:
        """Return why the run cannot go on."""
        if not self.leases.banned or self._last is None:
            return self._faults[0]
        nodes = " and ".join(self.leases.banned)
        why = f"{DEATHS} tracks died one after the other on {nodes}, and none was done"
        hint = "sep doctor looks for the cause; --verbose shows what the runtimes wrote"
        short = isinstance(self._last, MemoryLimitError)
        return (MemoryLimitError if short else RuntimeFailedError)(
            f"{why}: {self._last.message}", hint=self._last.hint if short else hint
        )

    def _kill_the_hung(self) -> Iterator[Event]:
        """End workers that have given no sign for so long that they never will."""
        now = self._clock()
        for hand in self._hands:
            if hand.lease is None or hand.given_up:
                continue
            silent = now - hand.heard
            if hand.killed is None and silent > self._patience(hand):
                hand.hung = f"nothing was heard of the runtime for {silent:.0f} s"
                hand.killed = now
                hand.killer = threading.Thread(target=hand.engine.kill, daemon=True)
                hand.killer.start()
            elif hand.killed is not None and now - hand.killed > UNKILLED_SECONDS:
                yield from self._give_up(hand, hand.lease)

    def _give_up(self, hand: Hand, lease: Lease) -> Iterator[Event]:
        """Go on without a worker that cannot even be killed."""
        yield from self._over(hand, lease, RuntimeFailedError(hand.hung))
        self.leases.leave(hand.worker.name)
        hand.given_up, hand.coming = True, False
        self._faults.append(RuntimeFailedError(f"{hand.worker.name} hangs and cannot be ended"))

    def _patience(self, hand: Hand) -> float:
        if self._hang is not None:
            return self._hang
        expected = None if hand.track is None else self.leases.expected(hand.track)
        if expected is None or self._plan.is_remote:  # stores are slow, and tell nothing meanwhile
            return UNKNOWN_HANG_SECONDS
        return max(LEAST_HANG_SECONDS, HANG * expected)

    def _let_go(self) -> None:
        self._stopping.set()
        for hand in self._hands:
            hand.inbox.put(None)

    def stop(self) -> None:
        """End all runtimes, gently first, side by side."""
        self._let_go()
        _all([hand.engine.stop for hand in self._hands])
        end = self._clock() + JOIN_SECONDS
        for thread in self._threads:  # one may have been about to begin
            thread.join(max(0.0, end - self._clock()))
        _all([hand.engine.kill for hand in self._hands])

    def kill(self) -> None:
        """End all runtimes now."""
        self._let_go()
        _all([hand.engine.kill for hand in self._hands])

    def pause(self) -> None:
        """Let all of them rest."""
        for hand in self._hands:
            hand.engine.pause()

    def go_on(self) -> None:
        """Let them work again; that they rested is no sign of death."""
        for hand in self._hands:
            hand.engine.go_on()
            hand.heard = self._clock()


def _blame(fault: SepError) -> Blame:
    """Return whose fault the end of a lease is."""
    if isinstance(fault, LostError):
        return fault.blame
    if isinstance(fault, MemoryLimitError):
        return "memory"
    of_track = isinstance(fault, RuntimeFailedError) or fault.code == ExitCode.BUG
    return "track" if of_track else "node"


def _error(last: Failed) -> SepError:
    """Return a Job's last word as the error that it was."""
    kind = getattr(errors, last.error, SepError)
    known = isinstance(kind, type) and issubclass(kind, SepError)
    return (kind if known else SepError)(last.message, last.hint, last.path)


def _all(calls: Sequence[Callable[[], None]]) -> None:
    """Make calls side by side, and wait for all."""
    threads = [threading.Thread(target=each) for each in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
