"""The screen of a task: what a run tells goes to the pages, what it asks becomes a question."""

from __future__ import annotations

import base64
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from sep_launcher.show import phrases
from sep_launcher.show.progress import NAMES, Pace
from sep_launcher.show.report import Report
from sep_launcher.ui.tasks import Song, name
from sep_protocol import (
    DeviceChosen,
    Fallback,
    Peaks,
    Phase,
    Progress,
    TrackDone,
    TrackFailed,
    Warned,
)
from sep_protocol.errors import ExistsError, InterruptedJob

if TYPE_CHECKING:
    from collections.abc import Callable

    from sep_launcher.planning.plan import Plan
    from sep_launcher.planning.preview import Preview
    from sep_launcher.planning.workers import By
    from sep_launcher.ui.feed import Feed
    from sep_launcher.ui.tasks import Task
    from sep_protocol import Event
    from sep_protocol.errors import SepError

TELL_SECONDS = 0.25  # between two signs of progress


class Face:
    """A Screen that is a page. `keep` gets every track that is done, and the model of it.

    Whoever tells something here is ended by KeyboardInterrupt when a person wants that: so also
    what has no engine is, as a setup.
    """

    can_ask = True
    wants_command = False
    open = False

    def __init__(
        self, task: Task, feed: Feed, keep: Callable[[Song, TrackDone, str], None]
    ) -> None:
        self.report = Report()
        self._task = task
        self._feed = feed
        self._keep = keep
        self._begun = time.monotonic()
        self._told = 0.0
        self._pace = Pace(())

    def route(self, plan: Plan) -> None:
        """Tell what will be done and where."""
        self.report.begin(plan)
        tracks = plan.job.tracks
        self._pace = Pace(tracks)
        with self._feed.changing:
            task = self._task
            known = {song.mix: song for song in task.songs}
            task.songs = []
            for track in tracks:
                mix = track.shown or track.audio
                song = known.get(mix) or Song(id=name(), mix=mix, title=Path(mix).name)
                song.state, song.done, song.error, song.hint = "waiting", 0, "", ""
                song.out = track.out
                task.songs.append(song)
            task.place, task.model = plan.place, plan.job.called
            task.route = f"{plan.route.engine} {plan.route.device}"
            task.reasons = tuple(phrases.reasons(plan.route))
            self._tell(songs=True)
        self._check()

    def event(self, event: Event, _by: By | None = None) -> None:
        """Tell one event."""
        self.report.take(event)
        with self._feed.changing:
            self._take(event)

    def _take(self, event: Event) -> None:
        task = self._task
        match event:
            case Progress():
                self._progress(event)
            case Peaks():
                song = task.songs[event.track]
                raw = base64.b64decode(event.pairs)
                song.peaks.setdefault(event.stem, bytearray())[2 * event.first :] = raw
                about = {"stem": event.stem, "first": event.first, "pairs": event.pairs}
                self._feed.put("peaks", song=song.id, **about)
            case Phase(track=None):
                task.phase = event.detail or NAMES.get(event.name, event.name)
                self._tell()
            case Phase(track=int(index)):
                self._pace.begin(index)
                task.phase = ""
                task.songs[index].state = "running"
                task.songs[index].peaks.clear()
                self._tell()
                self._song(index)
            case DeviceChosen():
                task.device = asdict(event)
                self._tell()
            case Fallback():
                task.warnings.append(f"{event.reason}; going on with {event.now}")
                self._tell()
            case Warned():
                task.warnings.append(event.message)
                self._tell()
            case TrackDone():
                self._done(event)
            case TrackFailed():
                song = task.songs[event.track]
                song.state, song.error, song.hint = "failed", event.message, event.hint
                self._pace.end(event.track, counts=False)
                self._song(event.track)
            case _:
                pass

    def _done(self, event: TrackDone) -> None:
        song = self._task.songs[event.track]
        song.state, song.out, song.stems = "done", event.out, tuple(event.stems)
        song.seconds, song.resumed = event.seconds, event.resumed
        song.length = event.frames / event.sample_rate
        song.done = song.total = event.frames
        song.rate, song.clipped = event.sample_rate, dict(event.clipped)
        self._pace.end(event.track, counts=not event.resumed)
        self._keep(song, event, self._task.model)
        self._song(event.track)

    def _progress(self, event: Progress) -> None:
        self._pace.take(event)
        task, song = self._task, self._task.songs[event.track]
        song.done, song.total, song.rate = event.done, event.total, event.sample_rate
        task.left, task.speed = self._pace.left(), self._pace.speed
        now = time.monotonic()
        if now - self._told >= TELL_SECONDS or event.done == event.total:
            self._told = now
            about = {"done": song.done, "total": song.total, "rate": song.rate}
            more = {"left": task.left, "speed": task.speed, "task": task.id}
            self._feed.put("progress", song=song.id, **about, **more)

    def _song(self, index: int) -> None:
        song = self._task.songs[index]
        self._feed.put("song", task=self._task.id, index=index, song=song.document())

    def _tell(self, *, songs: bool = False) -> None:
        self._feed.put("task", task=self._task.document(songs=songs))

    def _check(self) -> None:
        if self._task.halted:
            raise KeyboardInterrupt

    def preview(self, _found: list[Preview], _fault: SepError | None) -> None:
        """No page asks for one."""

    def ask(self, _question: str) -> bool:
        """Say what a person has said; where nobody was asked yet, what was told is the question."""
        if not self._task.agreed:
            self._task.question = {"kind": "agree", "lines": list(self._task.lines)}
        return self._task.agreed

    def meter(self, what: str, done: int = 0, total: int = 0) -> None:
        """Tell how many bytes of something are here."""
        self._check()
        now = time.monotonic()
        with self._feed.changing:
            was = self._task.meter or {"what": ""}
            self._task.meter = {"what": what or was["what"], "done": done, "total": total}
            if now - self._told >= TELL_SECONDS or what:
                self._told = now
                self._feed.put("meter", task=self._task.id, meter=self._task.meter)

    def meter_end(self) -> None:
        """Take that away."""
        with self._feed.changing:
            self._task.meter = None
            self._feed.put("meter", task=self._task.id, meter=None)

    def command(self, line: str) -> None:
        """No page asks for one."""

    def say(self, text: str, *, hint: str = "", loud: bool = False) -> None:  # noqa: ARG002
        """Tell a line."""
        with self._feed.changing:
            self._task.say(text + (f" ({hint})" if hint else ""))
            self._tell()
        self._check()

    def warn(self, text: str, hint: str = "") -> None:
        """Note and tell a warning, once."""
        if text not in self.report.warnings:
            self.report.warnings.append(text)
            with self._feed.changing:
                self._task.warnings.append(text + (f" ({hint})" if hint else ""))
                self._tell()

    def fault(self, fault: SepError) -> None:
        """Note what ended the run; that stems are there already is a question."""
        self.report.fail(fault)
        if isinstance(fault, ExistsError) and self._task.existing == "ask":
            self._task.question = {"kind": "exists", "lines": [fault.message]}

    def log(self, line: str) -> None:
        """Take a line that the runtime wrote: nobody reads it."""

    def stopping(self) -> None:
        """Tell that the run is being stopped."""
        with self._feed.changing:
            self._task.phase = "stopping"
            self._tell()

    def leave(self) -> None:
        """A page is in nobody's way."""

    def close(self) -> int:
        """Tell the end of the task and return its exit code."""
        report, task = self.report, self._task
        with self._feed.changing:
            task.seconds = time.monotonic() - self._begun
            task.phase, task.meter, task.left = "", None, None
            ended = report.error and report.error["error"] == InterruptedJob.__name__
            if task.halted:
                task.state, task.question = "cancelled", None
            elif task.question:
                task.state = "asking"
            elif ended:
                task.state = "cancelled"
            else:
                task.error = report.error
                task.findings = [asdict(each) for each in report.findings]
                failed = report.error or any(each.state == "failed" for each in task.songs)
                task.state = "failed" if failed else "done"
            for song in task.songs:
                if song.state == "running":
                    song.state, song.done = "waiting", 0
                song.peaks = {}  # of those that are done the list of tracks has them
            self._tell(songs=True)
        return int(report.exit_code)
