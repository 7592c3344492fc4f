"""What an Engine around another one hands on as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sep_launcher.engines import Engine
    from sep_launcher.planning.workers import By


class Around:
    """All of an Engine but `start` and `stop`."""

    def __init__(self, inner: Engine) -> None:
        self._inner = inner

    @property
    def by(self) -> By | None:
        """Who said the event that was yielded last."""
        return self._inner.by

    def ready(self) -> str:
        """Wait until the inner engine can begin."""
        return self._inner.ready()

    def kill(self) -> None:
        """End the runtime now."""
        self._inner.kill()

    def pause(self) -> None:
        """Let the runtime rest."""
        self._inner.pause()

    def go_on(self) -> None:
        """Let it work again."""
        self._inner.go_on()
