"""What the runtime says, line by line, to Events in this host's words."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from sep_protocol import Done, Failed, Hello, TrackFailed, Warned, load_event, map_paths
from sep_protocol.codec import FormError
from sep_protocol.errors import NotReadyError, RuntimeFailedError, filled
from sep_protocol.version import PROTOCOL, __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from sep_protocol import Event

LOG_LINES = 40  # kept for the report of a failure


class Listener:
    """Hears one runtime; `to_host` translates the paths in its events."""

    def __init__(
        self,
        who: str,
        mend: str,
        log: Callable[[str], None] | None = None,
        to_host: Callable[[str], str] | None = None,
    ) -> None:
        self.said_hello = False
        self.finished = False  # Done or Failed was heard
        self._who = who  # the Python or image that is spoken of in errors
        self._mend = mend  # the hint where it is of another version
        self._log = log
        self._to_host = to_host
        self._logged: deque[str] = deque(maxlen=LOG_LINES)

    def event(self, line: str) -> Event | None:
        """Return the event in a line, None for one of a later protocol.

        Raises RuntimeFailedError for what is no event, NotReadyError for another version.
        """
        try:
            event = load_event(line)
        except FormError as fault:
            message = f"the runtime does not speak our protocol: {fault}"
            raise RuntimeFailedError(message) from fault
        if event is None:
            return None
        if not self.said_hello:
            self._check(event)
        self.said_hello = True
        self.finished = isinstance(event, Done | Failed)
        if self._to_host:
            event = map_paths(event, self._to_host)
        if isinstance(event, Failed | TrackFailed | Warned):
            return replace(event, message=filled(event.message, event.path))
        return event

    def log(self, line: str) -> None:
        """Take a line that the runtime wrote to its stderr."""
        self._logged.append(line)
        if self._log:
            self._log(line)

    def logged(self, words: str) -> bool:
        """Say whether the log has these words."""
        return any(words in line for line in self._logged)

    @property
    def last_words(self) -> str:
        """The last line of the log that says something."""
        return next((line for line in reversed(self._logged) if line.strip()), "")

    def _check(self, event: Event) -> None:
        if isinstance(event, Failed):
            return
        if not isinstance(event, Hello):
            raise RuntimeFailedError("the runtime did not say hello first")
        if event.protocol != PROTOCOL or event.version != __version__:
            raise NotReadyError(
                f"{self._who} has sep {event.version} (protocol {event.protocol}), "
                f"this is {__version__} (protocol {PROTOCOL})",
                hint=self._mend,
            )
