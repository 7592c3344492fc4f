"""Which worker has which tracks, and what a death means for them. Pure: no clock, no process.

A track waits, is leased to a worker, and ends once: done, failed or quarantined. What ends a lease
early is charged to whom it is to blame (the table in docs/libraries.md):

- its track, where the runtime died or hung in the middle of it: it is tried again at the end of the
  queue, alone and with less memory, on another machine if there is one; after `DEATHS` times, on
  two machines if there are two, it is quarantined;
- nobody, where memory was short for the first time: it is tried again in the same careful way;
- the node, where somebody killed the worker, or nobody, where the whole node went: the tracks are
  the next ones again.

A node on which `DEATHS` different tracks or workers died one after the other, and none was done, is
the cause itself: it is banned, and what was charged there is taken back.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Blame = Literal["track", "memory", "node", "nobody"]
State = Literal["waiting", "leased", "done", "failed", "quarantined"]
DEATHS = 3
LEASE_SECONDS = 60.0  # of expected work in one lease: more in flight is more to do again


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Tracks that one worker has, to be done in this order."""

    number: int
    worker: str
    node: str
    tracks: tuple[int, ...]
    attempts: tuple[int, ...]  # how often each was tried, with this time
    careful: bool = False  # with as little memory as can be: it failed before


@dataclass(slots=True)
class _Held:
    """A lease that goes on."""

    lease: Lease
    left: list[int]  # tracks without an end
    now: int | None = None  # the track that is being worked at


@dataclass(slots=True)
class _Node:
    """What happened on one machine since a track was done there."""

    died: set[object] = field(default_factory=set)  # tracks, and leases whose worker was killed
    banned: bool = False


class Leases:
    """The state of a run over tracks of these `sizes`, in any unit of work; the largest go first.

    Workers `join` and `leave`; each `ask`s for a lease, one at a time. What is told of a lease that
    is over is not believed: `done` and `fail` return whether it counted.
    """

    def __init__(self, sizes: Sequence[float]) -> None:
        usual = sum(sizes) / max(1, sum(size > 0 for size in sizes)) or 1.0
        self.sizes = tuple(size if size > 0 else usual for size in sizes)  # 0: nobody knows
        self.states: list[State] = ["waiting"] * len(self.sizes)
        self.attempts = [0] * len(self.sizes)
        order = sorted(range(len(self.sizes)), key=lambda track: -self.sizes[track])
        self._queue = deque(order)
        self._held: dict[int, _Held] = {}  # by number
        self._workers: dict[str, str] = {}  # and their nodes
        self._nodes: defaultdict[str, _Node] = defaultdict(_Node)
        self._deaths: defaultdict[int, list[str]] = defaultdict(list)  # of a track: on which nodes
        self._short: set[int] = set()  # tracks for which memory was short once
        self._granted = 0
        self._worked = self._size_worked = 0.0  # seconds, and the size that was done in them

    def join(self, worker: str, node: str) -> None:
        """A worker is there."""
        self._workers[worker] = node

    def leave(self, worker: str) -> None:
        """A worker will ask no more; what it had must have ended before."""
        self._workers.pop(worker, None)

    def has(self, worker: str) -> bool:
        """Say whether a worker is there."""
        return worker in self._workers

    def settle(self, track: int, state: State) -> None:
        """Take a track out that waits: it has ended before."""
        self._queue.remove(track)
        self.states[track] = state

    def ask(self, worker: str) -> Lease | None:
        """Return tracks for a worker that has none; None where there is nothing for it now."""
        node = self._workers[worker]
        if self._nodes[node].banned:
            return None
        first = next((track for track in self._queue if self._suits(track, node)), None)
        if first is None:
            return None
        careful = self._is_careful(first)
        taken = [first] if careful else self._some(first, node)
        for track in taken:
            self._queue.remove(track)
            self.states[track] = "leased"
            self.attempts[track] += 1
        self._granted += 1
        lease = Lease(
            number=self._granted,
            worker=worker,
            node=node,
            tracks=tuple(taken),
            attempts=tuple(self.attempts[track] for track in taken),
            careful=careful,
        )
        self._held[lease.number] = _Held(lease, list(taken))
        return lease

    def begin(self, number: int, track: int) -> None:
        """A worker begins with a track of its lease."""
        held = self._held.get(number)
        if held and track in held.left:
            held.now = track

    def done(self, number: int, track: int, seconds: float = 0.0) -> bool:
        """A track is done; `seconds` of work, 0 where it had been done before."""
        if not self._end(number, track, "done"):
            return False
        self._nodes[self._held[number].lease.node].died.clear()
        if seconds > 0:
            self._worked += seconds
            self._size_worked += self.sizes[track]
        return True

    def fail(self, number: int, track: int) -> bool:
        """A track cannot be done, by anyone."""
        return self._end(number, track, "failed")

    def refuse(self, number: int, track: int) -> bool:
        """A node has no room for a track: it gets nothing more, and another one tries it.

        Returns False, and does nothing, where there is no other.
        """
        held = self._held.get(number)
        if held is None or not self._nodes_alive() - {held.lease.node}:
            return False
        if self._end(number, track, "waiting"):
            self._put_back([track])
        self._ban(held.lease.node)
        return True

    def close(self, number: int) -> None:
        """A worker is through with a lease; what it did not speak of waits again."""
        held = self._held.pop(number)
        self._put_back(held.left)

    def died(self, number: int, blame: Blame) -> int | None:
        """A lease ended in the middle; return the track that is quarantined for it, if one is."""
        held = self._held.pop(number)
        track = held.now if held.now is not None else held.left[0] if held.left else None
        if blame in ("node", "nobody") or track is None:
            self._put_back(held.left)
            if blame == "node":
                self._charge(held.lease.node, f"lease {number}")
            return None
        self._put_back([each for each in held.left if each != track])
        if blame == "memory" and track not in self._short:
            self._short.add(track)
        else:
            self._deaths[track].append(held.lease.node)
            self._charge(held.lease.node, track)
        if self._is_poison(track):
            self.states[track] = "quarantined"
            return track
        self.states[track] = "waiting"
        self._queue.append(track)
        return None

    def is_current(self, number: int, track: int) -> bool:
        """Say whether a lease that goes on has a track that has not ended."""
        held = self._held.get(number)
        return held is not None and track in held.left

    def deaths(self, track: int) -> int:
        """Return how many deaths a track is charged with."""
        return len(self._deaths[track])

    @property
    def waiting(self) -> int:
        """How many tracks nobody has."""
        return len(self._queue)

    @property
    def over(self) -> bool:
        """Say whether every track has ended."""
        return not self._queue and not any(held.left for held in self._held.values())

    @property
    def stuck(self) -> bool:
        """Say whether tracks wait, and nobody is there who could ever take one."""
        return bool(self._queue) and not self._held and not self._nodes_alive()

    def is_banned(self, node: str) -> bool:
        """Say whether a node gets nothing any more."""
        return self._nodes[node].banned

    @property
    def banned(self) -> list[str]:
        """The nodes that get nothing any more."""
        return [name for name, node in self._nodes.items() if node.banned]

    def expected(self, track: int) -> float | None:
        """Return the seconds that a track will take, as far as others tell; None: not known."""
        return self.sizes[track] * self._worked / self._size_worked if self._size_worked else None

    def _nodes_alive(self) -> set[str]:
        return {node for node in self._workers.values() if not self._nodes[node].banned}

    def _suits(self, track: int, node: str) -> bool:
        """Say whether a node may try a track: not where it died, while another one could."""
        died = self._deaths[track]
        return node not in died or not self._nodes_alive().difference(died)

    def _is_careful(self, track: int) -> bool:
        return bool(self._deaths[track]) or track in self._short

    def _some(self, first: int, node: str) -> list[int]:
        """Return a track, and more up to a lease's worth: fewer, the fewer there are for all."""
        taken = [first]
        left = sum(self.sizes[track] for track in self._queue)
        rate = self._worked / self._size_worked if self._size_worked else 0.0
        share = left * rate / (2 * max(1, len(self._workers)))
        room = min(LEASE_SECONDS, share) - self.sizes[first] * rate
        for track in self._queue:
            room -= self.sizes[track] * rate if track != first else 0.0
            if not rate or room < 0:
                break
            if track != first and not self._is_careful(track) and self._suits(track, node):
                taken.append(track)
        return taken

    def _end(self, number: int, track: int, state: State) -> bool:
        if not self.is_current(number, track):
            return False
        held = self._held[number]
        held.left.remove(track)
        held.now = None if held.now == track else held.now
        self.states[track] = state
        return True

    def _put_back(self, tracks: Sequence[int]) -> None:
        """Let tracks be the next ones again."""
        for track in reversed(tracks):
            self.states[track] = "waiting"
            self._queue.appendleft(track)

    def _charge(self, name: str, what: object) -> None:
        """Note what died on a node; so many in a row ban it."""
        node = self._nodes[name]
        node.died.add(what)
        if len(node.died) >= DEATHS:
            self._ban(name)

    def _ban(self, name: str) -> None:
        """Give nothing more to a node, and take back what was charged on it."""
        self._nodes[name].banned = True
        for track, nodes in self._deaths.items():
            self._deaths[track] = [node for node in nodes if node != name]

    def _is_poison(self, track: int) -> bool:
        died = self._deaths[track]
        return len(died) >= DEATHS and (len(set(died)) > 1 or not self._nodes_alive() - set(died))
