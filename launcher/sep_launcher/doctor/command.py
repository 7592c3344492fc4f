"""`sep doctor`: what is wrong with this machine, and the one line that fixes it."""

from __future__ import annotations

import contextlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING

from sep_launcher.doctor import look, report
from sep_launcher.doctor.catalogue import RULES, examine
from sep_launcher.doctor.redact import Redactor
from sep_launcher.doctor.report import Report
from sep_launcher.machine import probe
from sep_launcher.machine.stopping import stoppable
from sep_launcher.show import render
from sep_launcher.show.finding import Group
from sep_protocol.errors import PathError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sep_launcher.doctor.evidence import Evidence, Tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One `sep doctor`."""

    deep: bool = False
    json: bool = False
    verbose: bool = False
    bundle: Path | None = None


class _Out:
    """Lines for people, redacted, as they come; none where a document is wanted."""

    def __init__(self, *, silent: bool) -> None:
        self.redact = Redactor()
        self._silent = silent

    def lines(self, found: Iterable[str]) -> None:
        if not self._silent:
            render.lines((self.redact.text(each) for each in found), whole=report.FIX)


def doctor(wanted: Wanted) -> int:
    """Examine this machine; return 1 where a finding is an error, else 0.

    Raises PathError where the bundle cannot be written.
    """
    out = _Out(silent=wanted.json)
    with stoppable():
        found = _examined(wanted, out)
    document = out.redact.all(found.document())
    if wanted.json:
        render.document(document)
    if wanted.bundle:
        try:
            kept = Redactor(strict=True).all(found.document())
            text = json.dumps(kept, indent=1)
            with wanted.bundle.open("x", encoding="utf-8") as file:
                _fill(wanted.bundle, file, text)
        except FileExistsError as fault:
            raise PathError(f"{wanted.bundle} exists already", hint="name another file") from fault
        except OSError as fault:
            raise PathError(f"{wanted.bundle} cannot be written: {fault.strerror}") from fault
        out.lines([f"the report is in {wanted.bundle}; read it before you send it"])
    return found.exit_code


def _fill(path: Path, file: IO[str], text: str) -> None:
    """Write a file that was just made; a full disk leaves nothing of it. Raises OSError."""
    try:
        file.write(text + "\n")
        file.flush()
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def _examined(wanted: Wanted, out: _Out) -> Report:
    begun = time.perf_counter()
    host = probe.probe()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(look.ask, host)
        evidence = look.look(host, all_of_it=wanted.deep)
        findings = examine(evidence)
        out.lines(report.head(evidence))
        for group in Group:
            if group not in (Group.NATIVE, Group.DEVICES):
                out.lines(report.section(group, evidence, findings))
        seconds = time.perf_counter() - begun
        answers, installed = asked.result() or (None, {})
    evidence = replace(evidence, answers=answers)
    if answers:
        more = look.weights_of_runtime(answers)
        evidence = replace(evidence, weights=(*evidence.weights, *more))
    if wanted.deep:
        evidence = replace(evidence, tried=_deep(evidence, wanted, out))
    told, findings = findings, examine(evidence)
    # The answers may say something about the GPU, too.
    late = [each for each in findings if each not in told]
    for group in Group:
        mine = any(each.group is group for each in findings)
        if group is Group.NATIVE or (group is Group.DEVICES and (wanted.deep or mine)):
            out.lines(report.section(group, evidence, findings))
        elif any(each.group == group for each in late):
            out.lines(report.section(group, evidence, late))
    found = Report(
        evidence=evidence, findings=tuple(findings), installed=installed, seconds=seconds
    )
    out.lines(report.foot(found))
    return found


def _deep(evidence: Evidence, wanted: Wanted, out: _Out) -> tuple[Tried, ...]:
    from sep_launcher.doctor import deep  # noqa: PLC0415 (a quick look needs no engine)

    def log(line: str) -> None:
        if wanted.verbose:
            out.lines([f"runtime: {line}"])

    found = []
    for tried in deep.try_all(evidence.host, log):
        out.lines([report.tried(tried)])
        found.append(tried)
    return tuple(found)


def list_rules(*, as_json: bool) -> None:
    """Show every rule."""
    if as_json:
        render.document(
            {
                "rules": [
                    {
                        "id": each.id,
                        "group": each.group.value,
                        "severity": each.severity,
                        "title": each.title,
                        "breaks": each.breaks,
                        "fix": {name: each.fix.on(name) for name in ("linux", "macos", "windows")},
                    }
                    for each in RULES
                ]
            }
        )
        return
    for group in Group:
        rules = [each for each in RULES if each.group is group]
        render.lines([f"{group} ({len(rules)})"])
        render.lines(f"  {each.id:30}{each.severity:9}{each.title}" for each in rules)
