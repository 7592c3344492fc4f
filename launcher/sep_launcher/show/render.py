"""The only module that prints: results on standard output, all that is for people on stderr.

What scripts read is JSON in ASCII. What people read goes through `printable`, piece by piece:
a name or a message of another program is never more than one line, and no terminal obeys it.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from sep_launcher.show import folded, layout, phrases
from sep_launcher.show.crowd import Crowd
from sep_launcher.show.line import Line
from sep_launcher.show.progress import Meter, bar
from sep_launcher.show.report import SCHEMA, Report
from sep_launcher.show.streams import printable
from sep_protocol import (
    Done,
    Failed,
    Fallback,
    Phase,
    Progress,
    TrackDone,
    TrackFailed,
    Warned,
    dump_event,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sep_launcher.planning.plan import Plan
    from sep_launcher.planning.preview import Preview
    from sep_launcher.planning.route import Route
    from sep_launcher.planning.workers import By
    from sep_protocol import Event
    from sep_protocol.errors import SepError

Machine = Literal["", "json", "events"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How much is said, and to whom."""

    machine: Machine = ""  # what goes to standard output
    quiet: bool = False  # warnings and errors only on stderr
    verbose: bool = False


class Terminal:
    """A Screen: what people see on stderr, what scripts read on standard output."""

    def __init__(self, style: Style) -> None:
        self.report = Report()
        self._style = style
        self._begun = self._started = time.perf_counter()
        self._line = Line(hidden=style.quiet)
        self._what = ""  # is metered
        self._meter: Crowd | Meter = Meter((), self._line, self.say)

    def route(self, plan: Plan) -> None:
        """Say what will be done and where, before it is done."""
        self.report.begin(plan)
        self._started = time.perf_counter()
        self.say(phrases.start(plan))
        if self._style.verbose:
            for each in phrases.reasons(plan.route):
                self.say(f"     {each}")
        tracks = plan.job.tracks
        if plan.workers:
            self._meter = Crowd(tracks, plan.sizes, self._line, self.say)
        else:
            self._meter = Meter(tracks, self._line, self.say)

    def event(self, event: Event, by: By | None = None) -> None:
        """Show one event, and who said it. The last one of a stream is written by `close`."""
        self.report.take(event, by)
        if self._style.machine == "events" and not isinstance(event, Done | Failed):
            self._line.erase()
            _out(dump_event(event, **(by.facts() if by else {})))
        self._metered(event, by.worker.name if by else "")
        match event:
            case Warned():
                self._warn(event.message)
            case Fallback():
                who = f"{by.worker.name}: " if by else ""
                self.say(f"{who}{event.reason}; going on with {event.now}", loud=True)
            case TrackDone():
                seconds = time.perf_counter() - self._started
                for each in phrases.done(self.report, event, seconds):
                    self.say(each)
            case TrackFailed():
                self.say(phrases.failed(self.report, event), hint=event.hint, loud=True)
            case _:
                pass

    def _metered(self, event: Event, who: str) -> None:
        """Show how far it is."""
        meter = self._meter
        match event:
            case Phase():
                meter.phase(event, who)
            case Progress():
                meter.progress(event, who)
            case TrackDone() | TrackFailed():
                meter.end(event, who)
            case _:
                pass

    def preview(self, found: list[Preview], fault: SepError | None) -> None:
        """Say what a run would do, and why it would not begin."""
        self.report.preview(found, fault)
        for each in phrases.previews(found):
            self.say(each)
        if fault:
            self.say(f"a run would end here: {fault.message}", hint=fault.command)
        self.say("nothing was done: this was a dry run")

    @property
    def wants_command(self) -> bool:
        """Say whether somebody will read the command of a dry run."""
        return self._style.verbose or self._style.machine == "json"

    @property
    def can_ask(self) -> bool:
        """Say whether there is a person to ask."""
        return not self._style.machine and sys.stdin.isatty() and sys.stderr.isatty()

    def ask(self, question: str) -> bool:
        """Ask a person until the answer is one; the end of the input is a no."""
        self._line.erase()
        answers = {"": True, "y": True, "yes": True, "n": False, "no": False}
        try:
            while True:
                sys.stderr.write(f"{printable(question)} [Y/n] ")
                sys.stderr.flush()
                told = sys.stdin.readline()
                answer = answers.get(told.strip().lower())
                if not told:
                    sys.stderr.write("\n")
                    return False
                if answer is not None:
                    return answer
                self.say("please answer y or n", loud=True)
        except KeyboardInterrupt:
            sys.stderr.write("\n")
            raise

    def meter(self, what: str, done: int = 0, total: int = 0) -> None:
        """Show how many bytes of something are here, or that it goes on; no name: as before."""
        self._what = what or self._what
        if width := self._line.width:
            share = min(1.0, done / total) if total else None
            facts = [f"{done / 1e6:.0f} MB"] if done else []
            self._line.draw(bar(printable(self._what), share, facts, width))

    def meter_end(self) -> None:
        """Take the bar away."""
        self._line.erase()

    @property
    def open(self) -> bool:
        """Say whether the output of other programs is shown as it comes."""
        return self._style.verbose

    def command(self, line: str) -> None:
        """Give the command of a dry run."""
        self.report.command = line
        if not self._style.machine:
            _out(line)

    def warn(self, text: str, hint: str = "") -> None:
        """Note and show a warning of the launcher's own, once."""
        if text not in self.report.warnings:
            self.report.warnings.append(text)
            self._warn(text, hint)

    def fault(self, fault: SepError) -> None:
        """Note what ended the run; `close` shows it."""
        self.report.fail(fault)

    def log(self, line: str) -> None:
        """Show a line that the runtime wrote to its stderr."""
        if self._style.verbose:
            self.say(f"runtime: {line}")

    def stopping(self) -> None:
        """Say that the run is being stopped; the bar goes, nothing moves it any more."""
        self._line.erase()
        self.say("stopping ...")

    def leave(self) -> None:
        """Leave the terminal to the shell: this process is about to be stopped."""
        self._line.leave()

    def close(self) -> int:
        """Show the end of the run and return its exit code."""
        self._line.erase()
        report = self.report
        now = time.perf_counter()
        report.seconds = now - self._begun
        for each in phrases.end(report, now - self._started):
            self.say(each)
        if report.done and self._style.verbose:
            for each in phrases.details(report):
                self.say(each)
        for told, hint in folded.faults(report.error, report.findings):
            self.say(told, hint=hint, loud=True)
        if self._style.machine == "json":
            document(report.document())
        elif self._style.machine == "events":
            _out(dump_event(report.last_word))
        return int(report.exit_code)

    def say(self, text: str, *, hint: str = "", loud: bool = False) -> None:
        """Write one line to stderr, and one for a hint; `loud` also when quiet."""
        if loud or not self._style.quiet:
            told = printable(text) + (f"\n       {printable(hint)}" if hint else "")
            self._line.above(f"{told}\n")

    def _warn(self, text: str, hint: str = "") -> None:
        self.say(f"warning: {text}", hint=hint, loud=True)


def document(found: dict[str, Any]) -> None:
    """Print one JSON document."""
    _out(json.dumps(found))


def lines(found: Iterable[str], *, whole: str = "") -> None:
    """Print what a command was asked for; lines that begin with `whole` are never parted."""
    width = layout.columns(sys.stdout)
    for line in found:
        told = printable(line)
        keep = whole and told.lstrip().startswith(whole)
        for part in [told] if keep else layout.wrapped(told, width):
            _out(part)


def rows(head: tuple[str, ...], found: Iterable[tuple[str, ...]]) -> None:
    """Print a table."""
    told = [head, *(tuple(map(printable, row)) for row in found)]
    for line in layout.table(told, layout.columns(sys.stdout)):
        _out(line)


def route_document(route: Route) -> dict[str, Any]:
    """Return what `sep route --json` prints."""
    return {"schema": SCHEMA, **asdict(route)}


def _out(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
