"""A rule: facts in, a finding out. One function and one line in the catalogue make one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sep_launcher.show.finding import Finding, Fix

if TYPE_CHECKING:
    from collections.abc import Callable

    from sep_launcher.doctor.evidence import Evidence
    from sep_launcher.show.finding import Group, Severity

    Detect = Callable[[Evidence], str | None]

REPAIR = "sep setup --repair"
REPAIR_HERE = "{repair}"  # in a fix: what mends this machine's environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One failure that sep can meet."""

    id: str
    group: Group
    severity: Severity
    title: str
    breaks: str
    fix: Fix
    detect: Detect

    def examine(self, evidence: Evidence) -> Finding | None:
        """Return the finding, None where all is well or nothing is known."""
        detail = self.detect(evidence)
        if detail is None:
            return None
        return Finding(
            id=self.id,
            group=self.group,
            severity=self.severity,
            title=self.title,
            detail=detail,
            breaks=self.breaks,
            fix=_filled(self.fix.on(evidence.host.system), evidence),
        )


def _filled(fix: str, evidence: Evidence) -> str:
    native = evidence.host.native
    python = native.python if native else "python"
    pip = f"{python} -m pip install"
    mends = {
        "SEP_RUNTIME_PYTHON": f"unset SEP_RUNTIME_PYTHON, or repair that Python: {pip} ...",
        "own": f"in a clone of sep: {pip} --force-reinstall '.[runtime]'",
    }
    values = {
        "{python}": python,
        "{data}": next((each.path for each in evidence.disks if each.what == "data"), "its folder"),
        REPAIR_HERE: mends.get(native.source, REPAIR) if native and native.python else REPAIR,
    }
    for name, value in values.items():
        fix = fix.replace(name, value)
    return fix


def rule(
    group: Group, severity: Severity, *, breaks: str, fix: Fix | str
) -> Callable[[Detect], Rule]:
    """Make a rule of a function; its name is the id and its docstring's first line the title."""

    def made(detect: Detect) -> Rule:
        return Rule(
            id=detect.__name__.replace("_", "-"),
            group=group,
            severity=severity,
            title=(detect.__doc__ or "").partition("\n")[0].rstrip("."),
            breaks=breaks,
            fix=Fix(everywhere=fix) if isinstance(fix, str) else fix,
            detect=detect,
        )

    return made
