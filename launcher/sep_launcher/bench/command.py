"""`sep bench`: measure every combination, tell, keep the report."""

from __future__ import annotations

import datetime as dt
import shlex
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sep_launcher.bench import compare as comparison
from sep_launcher.bench import matrix, table
from sep_launcher.bench.computer import describe
from sep_launcher.bench.document import Document, Nameless, dumped, fault_of, load
from sep_launcher.bench.folder import Folder, check_free
from sep_launcher.bench.measure import Bencher, asked
from sep_launcher.doctor.deep import ways
from sep_launcher.machine.awake import awake
from sep_launcher.machine.probe import probe
from sep_launcher.machine.stopping import stoppable
from sep_launcher.show import layout, render
from sep_launcher.show.render import Style, Terminal
from sep_protocol import code
from sep_protocol.errors import ExitCode, InterruptedJob, PathError, UsageError

if TYPE_CHECKING:
    from sep_launcher.bench.document import Row
    from sep_launcher.bench.matrix import Wish
    from sep_launcher.planning.request import Request
    from sep_launcher.show.screen import Screen


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How the result is given."""

    json: bool = False
    verbose: bool = False
    report: Path | None = None
    trace: Path | None = None


def bench(wish: Wish, told: Told) -> int:
    """Measure all that was asked for; return the exit code.

    Raises UsageError for a profile of several combinations, PathError where a report or a trace
    cannot be written or something is there already, both before anything is measured.
    """
    begun = time.perf_counter()
    if told.trace and not wish.measure.profile:
        raise UsageError("--trace is the file of a profile", hint="add --profile")
    devices = {each.partition(":")[0] for each in wish.devices}
    host = probe(ask_torch="cuda" in devices)
    requests = matrix.requests(wish, ways(host))
    if wish.measure.profile and len(requests) != 1:
        raise UsageError(
            f"--profile explains one combination, and these are {len(requests)}",
            hint="name one device, engine, model, precision, overlap and batch",
        )
    if told.trace:
        check_free(told.trace, "name a file that is not there yet")
    folder = Folder(told.report) if told.report else None
    trace = told.trace or (folder.trace if folder and wish.measure.profile else None)
    nameless = Nameless()
    bencher = Bencher(
        host=host,
        measure=replace(wish.measure, trace=str(Path.cwd() / trace) if trace else None),
        whole=wish.whole,
        style=Style(verbose=told.verbose),
        nameless=nameless,
    )
    screen = Terminal(Style())
    with awake(), stoppable():
        rows = _rows(requests, bencher, screen)
    fault = matrix.fault(wish, requests, rows)
    document = Document(
        code=code.digest(),
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        command=shlex.join(["sep", *map(nameless.argument, sys.argv[1:])]),
        exit_code=fault.code if fault else ExitCode.OK,
        error=fault,
        machine=describe(host),
        rows=rows,
        seconds=time.perf_counter() - begun,
    )
    return _end(document, told, folder, screen)


def _rows(requests: list[Request], bencher: Bencher, screen: Screen) -> tuple[Row, ...]:
    """Measure one after the other; an interrupt ends it, and what was measured stays."""
    rows: list[Row] = []
    for number, request in enumerate(requests, 1):
        try:
            screen.say(f"{number}/{len(requests)} {_words(request)}")
            row = bencher.row(request)
            if row.error and row.error.code != ExitCode.INTERRUPTED:
                screen.say(f"     not measured: {row.error.message}", hint=row.error.hint)
        except KeyboardInterrupt:  # outside of a runtime's work, which ends in its own way
            row = asked(request, InterruptedJob("interrupted"))
        rows.append(row)
        if row.error and row.error.code == ExitCode.INTERRUPTED:
            break
    return tuple(rows)


def _words(request: Request) -> str:
    """Return what was asked for."""
    where = [each for each in (request.wanted.engine, request.wanted.device) if each != "auto"]
    parts = [
        " ".join(where) or "the way that runs take",
        request.model or "",
        request.precision if request.precision != "auto" else "",
        f"overlap {request.overlap:g}" if request.overlap else "",
        f"batch {request.batch}" if request.batch else "",
    ]
    return ", ".join(filter(None, parts))


def _end(document: Document, told: Told, folder: Folder | None, screen: Screen) -> int:
    """Write and print the result; return the exit code."""
    if folder:
        try:
            if document.measured:
                written = folder.write(document)
                screen.say(f"written: {', '.join(layout.near(str(each)) for each in written)}")
        except PathError as fault:
            document = replace(document, exit_code=fault.code, error=fault_of(fault))
        finally:
            folder.leave()
    elif told.trace and told.trace.is_file():
        screen.say(f"written: {layout.near(str(told.trace))}")
    if told.json:
        render.document(dumped(document))
    else:
        _show(document)
    if error := document.error:
        screen.say(f"error: {error.message}", hint=error.hint, loud=True)
    return document.exit_code


def _show(document: Document) -> None:
    """Print the result for people."""
    rows = document.measured
    render.lines([table.short(document.machine), *table.heading(document)])
    if rows:
        _tables(table.summary(rows), table.phases(rows), table.whole(rows), table.baselines(rows))
        render.lines(f"fast ways: {each}" for each in table.ways(rows))
    for row in rows:
        found = table.bench(row)
        if found.profile:
            _tables(table.groups(found.profile), table.operators(found.profile))
        if found.tuning:
            _tables(table.tuning(row))
    if len(document.rows) > 1:
        render.lines(f"not measured: {where}: {why}" for where, why in table.missing(document))


def _tables(*found: table.Table) -> None:
    for each in found:
        if each:
            render.rows(each[0], each[1:])


def compare(paths: tuple[Path, Path]) -> int:
    """Print two documents side by side; return the exit code.

    Raises PathError where one cannot be read, UsageError where it is something else.
    """
    a, b = (load(path.expanduser()) for path in paths)
    render.lines(comparison.heading(a, b))
    both, alone = comparison.side_by_side(a, b), comparison.alone(a, b)
    if not both:
        render.lines(["nothing was measured in both"])
    _tables(both, alone)
    return ExitCode.OK
