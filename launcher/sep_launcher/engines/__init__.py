"""Ways to run the runtime: one Job in, Events out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator

    from sep_launcher.plan import Plan
    from sep_protocol import Event


class Engine(Protocol):
    """One run of one plan."""

    def start(self, plan: Plan) -> Generator[Event, None, None]:
        """Yield the runtime's events, Hello first and Done or Failed last.

        Raises a SepError where the runtime cannot be started or ends without a last word.
        """

    def stop(self) -> None:
        """End the runtime, gently first, and wait until it has cleaned up."""

    def kill(self) -> None:
        """End the runtime now."""
