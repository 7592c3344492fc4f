"""The only module that prints: results on standard output, all that is for people on stderr.

What scripts read is JSON in ASCII. What people read goes through `printable`, piece by piece:
a name or a message of another program is never more than one line, and no terminal obeys it.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sep_launcher.show.report import Report
from sep_launcher.show.streams import printable
from sep_protocol import (
    Fallback,
    Hello,
    Phase,
    Progress,
    TrackDone,
    TrackFailed,
    Warned,
    dump_event,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console
    from rich.progress import Progress as Bar

    from sep_launcher.planning.plan import Plan
    from sep_launcher.planning.route import Route
    from sep_protocol import Benched, Event
    from sep_protocol.errors import SepError

Machine = Literal["", "json", "events"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How much is said, and to whom."""

    machine: Machine = ""  # what goes to standard output
    quiet: bool = False  # warnings and errors only on stderr
    verbose: bool = False


class Screen:
    """One run as people and scripts see it."""

    def __init__(self, style: Style) -> None:
        self.report = Report()
        self._style = style
        self._begun = time.perf_counter()
        self._bar: Bar | None = None
        self._task: Any = None
        self._track_begun = 0.0

    def route(self, plan: Plan) -> None:
        """Say what will be done and why, before it is done."""
        self.report.plan = plan
        route, count = plan.route, len(plan.job.tracks)
        expects = f" (it expects {plan.expects})" if plan.expects else ""
        tracks = f"{count} tracks"
        if count == 1:
            tracks = Path(plan.job.tracks[0].audio).name
        elif plan.job.bench:
            tracks = f"a bench of {plan.job.bench.seconds:g} s, {plan.job.bench.runs} runs,"
        self.say(f"sep: {route.engine} {route.device} ({route.reason})")
        self.say(f"     {tracks} by the model {plan.job.model.name}{expects}")
        if self._style.verbose:
            for line in alternatives(route):
                self.say(f"     {line}")

    def event(self, event: Event) -> None:
        """Show one event."""
        self.report.take(event)
        if self._style.machine == "events":
            _out(dump_event(event))
        match event:
            case Hello() if not self._style.quiet:
                # rich takes 0.1 s; now it costs nothing, because the runtime imports torch.
                importlib.import_module("rich.table")
            case Phase(name=name, track=track):
                self._phase(name, track)
            case Progress():
                self._progress(event)
            case Warned():
                self._warn(event.message)
            case Fallback():
                self.say(f"{event.reason}; going on with {event.now}", loud=True)
            case TrackDone():
                self._hide()
                was = "done before" if event.resumed else "done"
                self.say(f"{was}: {Path(self.report.mix_of(event.track)).name} -> {event.out}")
            case TrackFailed():
                self._hide()
                mix = Path(self.report.mix_of(event.track)).name
                self.say(f"failed: {mix}: {event.message}", hint=event.hint, loud=True)
            case _:
                pass

    @property
    def can_ask(self) -> bool:
        """Say whether there is a person to ask."""
        return not self._style.machine and sys.stdin.isatty() and sys.stderr.isatty()

    def ask(self, question: str) -> bool:
        """Ask a person."""
        self._hide()
        sys.stderr.write(f"{printable(question)} [Y/n] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("", "y", "yes")

    def meter(self, what: str, done: int = 0, total: int = 0) -> None:
        """Show how many bytes of something are here, or that it goes on; no name: as before."""
        if self._style.quiet or not sys.stderr.isatty():
            return
        if self._bar is None:
            self._bar = _bar(_console())
            self._bar.start()
            self._task = self._bar.add_task("", total=None, rate="")
        shown = printable(what[-40:])
        if what and shown != self._bar.tasks[0].description:
            self._bar.reset(self._task, total=None, description=shown, rate="")
        if done:
            rate = f"{done / 1e6:.0f} MB"
            self._bar.update(self._task, completed=done, total=total or None, rate=rate)

    def meter_end(self) -> None:
        """Take the bar away."""
        self._hide()

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

    def close(self) -> int:
        """Show the end of the run and return its exit code."""
        self._hide()
        report = self.report
        report.seconds = time.perf_counter() - self._begun
        if report.error:
            told = report.error
            self.say(f"error: {told['message']}", hint=str(told["hint"]), loud=True)
        for each in report.findings:
            self.say(f"sep doctor: {each.title} [{each.id}]", hint=each.fix, loud=True)
        if report.done and not self._style.quiet:
            self._table()
        if self._style.machine == "json":
            document(report.document())
        return int(report.exit_code)

    def say(self, text: str, *, hint: str = "", loud: bool = False) -> None:
        """Write one line to stderr, and one for a hint; `loud` also when quiet."""
        if self._style.quiet and not loud:
            return
        told = printable(text) + (f"\n       {printable(hint)}" if hint else "")
        if self._bar is not None:
            self._bar.console.print(told, soft_wrap=True)
        else:
            sys.stderr.write(told + "\n")
            sys.stderr.flush()

    def _warn(self, text: str, hint: str = "") -> None:
        self.say(f"warning: {text}", hint=hint, loud=True)

    def _phase(self, name: str, track: int | None) -> None:
        if track is not None:
            self._track_begun = time.perf_counter()
        if self._style.quiet or not sys.stderr.isatty():
            return
        if self._bar is None:
            self._bar = _bar(_console())
            self._bar.start()
            self._task = self._bar.add_task("starting", total=None, rate="")
        mix = f"{name} ..."
        if track is not None and self.report.plan:
            count = len(self.report.plan.job.tracks)
            number = f"{track + 1}/{count} " if count > 1 else ""
            mix = number + Path(self.report.mix_of(track)).name
        self._bar.reset(self._task, total=None, description=printable(mix[:40]), rate="")

    def _progress(self, event: Progress) -> None:
        if self._bar is None:
            return
        plan, elapsed = self.report.plan, time.perf_counter() - self._track_begun
        rate = ""
        if plan and event.done and elapsed > 0 and event.sample_rate:
            rate = f"{event.done / event.sample_rate / elapsed:.1f}x real time"
        self._bar.update(self._task, completed=event.done, total=event.total or None, rate=rate)

    def _hide(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _table(self) -> None:
        from rich.table import Table  # noqa: PLC0415 (rich is slow to import)

        report, done = self.report, self.report.done
        tracks = [each for each in report.tracks.values() if isinstance(each, TrackDone)]
        audio = sum(each.frames / each.sample_rate for each in tracks)
        work = sum(each.seconds for each in tracks)
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        device = report.device
        if device:
            said = f"{device.device} ({device.name}, torch {device.torch})"
            table.add_row("device", printable(said))
        for name, seconds in done.phases.items() if done else ():
            table.add_row(printable(name), f"{seconds:.2f} s")
        table.add_row("whole command", f"{report.seconds:.2f} s")
        if tracks and work:
            first = tracks[0]
            seen = sum(each.chunks for each in tracks)
            table.add_row("chunks", f"{seen} of {first.chunk} samples, hop {first.hop}")
            table.add_row("speed", f"{audio / work:.2f}x real time ({audio:.1f} s of audio)")
        if len(report.tracks) > 1 and done:
            table.add_row("tracks", f"{done.done} done, {done.failed} failed")
        for each in tracks if len(tracks) == 1 else ():
            table.add_row("stems", printable(each.out))
            files = [Path(path).name for path in each.stems.values()]
            table.add_row("", printable(", ".join(files)))
        _console().print(table, soft_wrap=True)
        if report.bench and self._style.machine != "json":
            _bench_rows(report.bench)


def _bench_rows(found: Benched) -> None:
    memory = f"{found.peak_memory / (1 << 20):.0f} MiB" if found.peak_memory else "not known"
    lines(
        [
            (
                f"{found.model} on {found.device}: {found.audio_seconds:g} s of audio, chunks of "
                f"{found.chunk}, hop {found.hop}, medians of {found.runs}, peak memory {memory}"
            )
        ]
    )
    rows(
        ("scheme", "seconds", "x real time", "chunks", "time / sep's"),
        [
            (
                each.scheme,
                f"{each.seconds:.2f}",
                f"{each.real_time:.2f}",
                str(each.chunks),
                f"{each.ratio:.2f}",
            )
            for each in found.measured
        ],
    )


def document(found: dict[str, Any]) -> None:
    """Print one JSON document."""
    _out(json.dumps(found))


def lines(found: Iterable[str]) -> None:
    """Print what a command was asked for."""
    for line in found:
        _out(printable(line))


def rows(head: tuple[str, ...], found: Iterable[tuple[str, ...]]) -> None:
    """Print a table."""
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, padding=(0, 2, 0, 0))
    for i, name in enumerate(head):  # the first is to be typed, so it is never cut
        table.add_column(name, no_wrap=not i, min_width=5)
    for row in found:
        table.add_row(*map(printable, row))
    _console(stderr=False).print(table)


def route_document(route: Route) -> dict[str, Any]:
    """Return what `sep route --json` prints."""
    return asdict(route)


def alternatives(route: Route) -> list[str]:
    """Return a line for every way that was not chosen."""
    found = []
    for each in route.alternatives:
        why = each.refused or ("second choice" if each.ready else "not set up")
        found.append(f"not {each.engine} {each.device}: {why}")
    return found


def _console(*, stderr: bool = True) -> Console:
    from rich.console import Console  # noqa: PLC0415

    # Names are shown as they are, also one with ":drum:" in it.
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


def _bar(console: Console) -> Bar:
    from rich import progress  # noqa: PLC0415

    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TextColumn("{task.fields[rate]}"),
        progress.TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _out(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
