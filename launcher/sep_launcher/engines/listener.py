"""What the runtime says, line by line, to Events in this host's words."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from sep_protocol import (
    Benched,
    Done,
    Failed,
    Hello,
    ModelLoaded,
    TrackDone,
    TrackFailed,
    Warned,
    load_event,
    map_paths,
)
from sep_protocol.codec import FormError
from sep_protocol.errors import (
    DeviceError,
    ExitCode,
    NotReadyError,
    RuntimeFailedError,
    filled,
)
from sep_protocol.version import PROTOCOL, __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from sep_protocol import Event, Job

LOG_LINES = 40  # kept for the report of a failure
LOOK = "sep doctor looks for the cause; --verbose shows what the runtime wrote"


class Listener:
    """Hears one runtime do a Job; `to_host` translates the paths in its events.

    It believes nothing that the Job contradicts: an end that is told is the end of all its tracks.
    """

    def __init__(
        self,
        job: Job,
        who: str,
        mend: str,
        log: Callable[[str], None] | None = None,
        to_host: Callable[[str], str] | None = None,
    ) -> None:
        self.said_hello = False
        self._job = job
        self._last: Done | Failed | None = None
        self._reported: dict[int, TrackDone | TrackFailed] = {}
        self._benched = False
        self._who = who  # the Python or image that is spoken of in errors
        self._mend = mend  # the hint where it is of another version
        self._log = log
        self._to_host = to_host
        self._logged: deque[str] = deque(maxlen=LOG_LINES)

    @property
    def finished(self) -> bool:
        """Say whether the last word was heard."""
        return self._last is not None

    def event(self, line: str) -> Event | None:
        """Return the event in a line, None for one of a later protocol.

        Raises RuntimeFailedError for what is no event or cannot be, NotReadyError for another
        version, DeviceError where the network runs in another precision than the Job's.
        """
        try:
            event = load_event(line)
        except FormError as fault:
            raise _nonsense(str(fault)) from fault
        if self._last is not None:
            raise _nonsense("it went on after its last word")
        if event is None:
            return None
        if not self.said_hello:
            self._check_first(event)
        self.said_hello = True
        self._check(event)
        if self._to_host:
            event = map_paths(event, self._to_host)
        if isinstance(event, Failed | TrackFailed | Warned):
            return replace(event, message=filled(event.message, event.path))
        return event

    def check_end(self, code: int) -> None:
        """Raise RuntimeFailedError where the exit code is not what the last word promised."""
        match self._last:
            case Failed(code=promised):
                pass
            case Done(failed=failed):
                promised = ExitCode.TRACK_FAILED if failed else ExitCode.OK
            case None:
                return
        if code != promised:
            how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
            raise RuntimeFailedError(f"the runtime {how} after its last word", hint=LOOK)

    def _check(self, event: Event) -> None:
        index = getattr(event, "track", None)
        if index is not None and index >= len(self._job.tracks):
            raise _nonsense(f"the job has no track {index}")
        match event:
            case ModelLoaded():
                self._check_precision(event)
            case TrackDone() | TrackFailed():
                if event.track in self._reported:
                    raise _nonsense(f"it reported track {event.track} twice")
                self._reported[event.track] = event
            case Benched():
                self._benched = True
            case Done():
                self._check_done(event)
                self._last = event
            case Failed():
                self._last = event
            case _:
                pass

    def _check_precision(self, event: ModelLoaded) -> None:
        wanted, real = self._job.precision, event.precision
        if wanted not in ("auto", real):
            what = f"{event.model} " if event.model and len(self._job.models) > 1 else ""
            raise DeviceError(
                f"precision {wanted} cannot be had: the runtime computes {what}in {real}",
                hint="leave out --precision to take the best that the device has",
            )

    def _check_done(self, event: Done) -> None:
        heard = list(self._reported.values())
        done = sum(isinstance(each, TrackDone) for each in heard)
        if (event.done, event.failed) != (done, len(heard) - done):
            raise _nonsense("it counts other tracks than it reported")
        if len(heard) != len(self._job.tracks):
            raise _nonsense(f"it reported {len(heard)} of {len(self._job.tracks)} tracks")
        if self._job.bench and not self._benched:
            raise _nonsense("it measured nothing")

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

    def _check_first(self, event: Event) -> None:
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


def _nonsense(why: str) -> RuntimeFailedError:
    return RuntimeFailedError(f"the runtime does not speak our protocol: {why}", hint=LOOK)
