"""A rule: facts in, a finding out. One function and one line in the catalogue make one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from sep_launcher.doctor.evidence import Evidence
    from sep_launcher.host import System

    Detect = Callable[[Evidence], str | None]

REPAIR = "sep setup --repair"
REPAIR_HERE = "{repair}"  # in a fix: what mends this machine's environment
Severity = Literal["error", "warning"]


class Group(StrEnum):
    """What a finding is about, in the order in which people read it."""

    HOST = "Host"
    GPU = "GPU"
    ENGINE = "Engine"
    IMAGE = "Image"
    FILES = "Models and files"
    NATIVE = "Native environment"  # its answers take as long as importing torch
    DEVICES = "Devices"  # what --deep has tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """The line that mends it, by system.

    `{python}` and `{data}` stand for this machine's, `{repair}` for what mends its environment:
    setup mends its own alone.
    """

    everywhere: str = ""
    linux: str = ""
    macos: str = ""
    windows: str = ""

    def on(self, system: System) -> str:
        """Return the line for a system."""
        own = {"linux": self.linux, "macos": self.macos, "windows": self.windows}[system]
        return own or self.everywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is wrong on this machine."""

    id: str
    group: Group
    severity: Severity
    title: str
    detail: str
    breaks: str
    fix: str


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
        "SEP_RUNTIME_PYTHON": f"unset SEP_RUNTIME_PYTHON, or mend that Python: {pip} ...",
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
