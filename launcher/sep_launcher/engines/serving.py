"""The runtime as a child process that is kept: its model stays loaded from one Job to the next."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

from sep_launcher.engines import EVENT_BYTES
from sep_launcher.engines.native import NativeEngine, command_of, heard, lines
from sep_protocol import Failed, Hello, dump_job
from sep_protocol.errors import RuntimeFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from sep_launcher.engines.listener import Listener
    from sep_launcher.planning.plan import Plan
    from sep_protocol import Event

IDLE_SECONDS = 4.0  # that a runtime without work may take to end


class Serving(NativeEngine):
    """An Engine whose runtime lives on after a plan, for the next; one that died is replaced.

    All plans are for one Python and environment. Without a `group` of its own the child is one of
    those that end with whoever ends this process's group.
    """

    def __init__(self, log: Callable[[str], None] | None = None, *, group: bool = True) -> None:
        super().__init__(log, group=group)
        self._busy = False
        self._now: Listener | None = None

    @property
    def pid(self) -> int | None:
        """The runtime's process, where one lives."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    def start(self, plan: Plan) -> Generator[Event, None, None]:
        """Yield the runtime's events of this plan."""
        if self._busy:  # nobody heard the last plan to its end
            self.kill()
        self._stopped = False
        self._now = listener = self._listener(plan)
        process = self._process
        if process is None or process.poll() is not None:
            self._close()
            command = command_of(plan, "--serve")
            process = self._spawn(plan, command, self._logged)
        self._busy = True
        with contextlib.suppress(OSError, ValueError):  # it died: what it said comes below
            if process.stdin is not None:
                process.stdin.write(dump_job(plan.job, line=True).encode())
                process.stdin.flush()
        for line in lines(process.stdout, EVENT_BYTES):
            event = heard(listener, line)
            if isinstance(event, Hello) and event.job != plan.job.id:
                raise RuntimeFailedError(f"the runtime does another job: {event.job}")
            done = listener.finished and not isinstance(event, Failed)  # which ends the process
            self._busy = not done
            if event is not None:
                yield event
            if done:
                return
        self._busy = False
        self._end(process, plan, listener)

    def stop(self) -> None:
        """End the runtime: at once where it has no work, else as other ones."""
        process = self._process
        self.go_on()  # what rests hears nothing
        if process is not None and not self._busy and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(IDLE_SECONDS)
        super().stop()

    def kill(self) -> None:
        """Kill the process, if it lives, and reap it."""
        super().kill()
        self._busy = False

    def _logged(self, line: str) -> None:
        if self._now is not None:
            self._now.log(line)
