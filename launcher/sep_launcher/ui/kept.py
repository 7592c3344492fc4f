"""The page's engine: its runtime is kept from one job to the next, and a button ends a run."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sep_launcher import following
from sep_launcher.engines.halting import Halting
from sep_launcher.engines.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Callable

    from sep_launcher.engines import Engine
    from sep_launcher.engines.staging import Staging
    from sep_launcher.planning.plan import Plan
    from sep_launcher.show.screen import Screen


class Keeper:
    """Gives the engines of many runs, one after the other, and keeps the native runtime."""

    def __init__(self) -> None:
        self.halt = threading.Event()
        self._log: Callable[[str], None] = lambda _: None
        self._serving: Serving | None = None
        self._way: object = None  # Python and environment of the runtime that is kept

    def engine_of(self, plan: Plan, screen: Screen, room: Staging | None) -> Engine:
        """Return the engine of a plan."""
        self._log = screen.log
        if plan.route.engine != "native" or room is not None:
            self.rest()
            return Halting(following.engine_of(plan, screen, room), self.halt, kept=False)
        way = (plan.python, plan.isolated, plan.environment)
        if way != self._way:
            self.rest()
        if self._serving is None:
            self._serving, self._way = Serving(self._logged), way
        return Halting(self._serving, self.halt, kept=True)

    def rest(self) -> None:
        """End the runtime that is kept: its memory is for others."""
        if self._serving is not None:
            self._serving.stop()
        self._serving = self._way = None

    def _logged(self, line: str) -> None:
        self._log(line)
