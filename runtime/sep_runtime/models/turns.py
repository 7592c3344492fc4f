"""Networks of several models on one device: together, or one at a time where memory is short."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sep_runtime.models.running import Runner


class Together:
    """The networks of models that work together; one works at a time, whatever thread asks.

    Once memory was short, `alternate` says that a network leaves when another one is needed.
    """

    def __init__(self) -> None:
        self.alternate = False
        self.lock = threading.RLock()
        self._runners: list[Runner] = []

    def join(self, runner: Runner) -> None:
        """Add a network."""
        self._runners.append(runner)

    def make_room(self, runner: Runner | None = None) -> bool:
        """Send away all but this one; say whether any went. From then on they alternate."""
        gone = [each.leave() for each in self._runners if each is not runner]
        self.alternate = self.alternate or any(gone)
        return any(gone)
