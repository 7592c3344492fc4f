"""Models that work together: in memory together, or one at a time where it does not hold all."""

from __future__ import annotations

import threading
from typing import Protocol

SECONDS = 60  # of audio that a model gets at once where it has to make room for another


class Member(Protocol):
    """A network in memory."""

    def leave(self) -> bool:
        """Give up its memory until it is asked again; say whether it had any."""


class Turns:
    """Networks that share a device's memory; one works at a time, whatever thread asks.

    Once memory was short, `alternate` says that a network leaves when another one is needed.
    """

    def __init__(self) -> None:
        self.alternate = False
        self.lock = threading.RLock()
        self._members: list[Member] = []

    def join(self, member: Member) -> None:
        """Add a network."""
        self._members.append(member)

    def make_room(self, member: Member | None = None) -> bool:
        """Send away all but this one; say whether any went. From then on they alternate."""
        gone = [each.leave() for each in self._members if each is not member]
        self.alternate = self.alternate or any(gone)
        return any(gone)

    def least(self, sample_rate: int) -> int:
        """Return how many samples a model waits for, so that a turn is worth the change."""
        return SECONDS * sample_rate if self.alternate else 0
