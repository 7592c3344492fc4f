"""The runtime in a container that is kept: its model stays loaded from one Job to the next."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sep_launcher.engines import IMAGE_SETUP
from sep_launcher.engines.docker import frames, images, orphans
from sep_launcher.engines.docker.container import (
    ContainerEngine,
    ended,
    launch,
    make_outs,
    mapping_of,
    seen_here,
    spec_of,
)
from sep_launcher.engines.listener import Listener
from sep_protocol import Failed, dump_job
from sep_protocol.errors import RuntimeFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from sep_launcher.engines.docker.translate import Mapping
    from sep_launcher.planning.plan import Plan
    from sep_protocol import Event


class ServingContainer(ContainerEngine):
    """An Engine whose container lives on after a plan, for the next; one that died is replaced.

    What it mounts is what the `whole` run needs, of which the plans are parts.
    """

    def __init__(self, whole: Plan, log: Callable[[str], None] | None = None) -> None:
        super().__init__(log)
        self._whole = whole
        self._mapping: Mapping | None = None
        self._lines: Generator[tuple[bool, str], None, None] | None = None
        self._busy = False

    def start(self, plan: Plan) -> Generator[Event, None, None]:
        """Yield the runtime's events of this plan."""
        if self._busy:  # nobody heard the last plan to its end
            self.stop()
        if self._run is None:
            self._launch(plan)
        run, mapping, lines = self._run, self._mapping, self._lines
        if run is None or mapping is None or lines is None or run.attached is None:
            raise RuntimeFailedError("the container has gone before it began")
        listener = Listener(
            plan.job, f"the image for {plan.route.device}", IMAGE_SETUP, self._log, mapping.to_host
        )
        self._busy = True
        with contextlib.suppress(OSError):  # it died: what it said comes below
            run.attached.send(dump_job(mapping.job(plan.job), line=True).encode())
        for is_out, line in lines:
            if not is_out:
                listener.log(line)
                continue
            event = listener.event(line)
            done = listener.finished and not isinstance(event, Failed)  # which ends the process
            self._busy = not done
            if event is not None:
                yield seen_here(event)
            if done:
                return
        try:
            if not run.stopped:
                ended(run, listener)
        finally:
            self.kill()

    def _launch(self, plan: Plan) -> None:
        """Start the container; `_run` and what belongs to it are set."""
        run = self._begin(plan)
        image = self._image or images.find(run.daemon, plan.route.device).id
        orphans.sweep(run.daemon)
        self._mapping = mapping_of(self._whole)
        make_outs(self._mapping)  # others mount them, too: whoever runs all clears them away
        launch(run, spec_of(plan, self._mapping, image, None, run.daemon))
        self._lines = frames.lines(run.attached)

    def kill(self) -> None:
        """Remove the container, whatever it does, and hang up."""
        lines, self._lines, self._busy = self._lines, None, False
        super().kill()
        if lines is not None:
            with contextlib.suppress(ValueError):  # another thread is hearing: it ends by itself
                lines.close()
