"""All rules, and what they say together: of a machine, and of the error that ended a run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sep_launcher.doctor import (
    container_gpu_rules,
    device_rules,
    engine_rules,
    files_rules,
    gpu_rules,
    host_rules,
    library_rules,
    native_rules,
)
from sep_launcher.show.finding import Group

if TYPE_CHECKING:
    from sep_launcher.doctor.evidence import Evidence
    from sep_launcher.doctor.rule import Rule
    from sep_launcher.show.finding import Finding

RULES: tuple[Rule, ...] = (
    *host_rules.RULES,
    *gpu_rules.RULES,
    *engine_rules.RULES,
    *container_gpu_rules.RULES,
    *files_rules.RULES,
    *native_rules.RULES,
    *device_rules.RULES,
    *library_rules.RULES,
)


def examine(evidence: Evidence) -> list[Finding]:
    """Return what is wrong. Docker's errors are warnings where runs go natively, and so on."""
    found = [finding for rule in RULES if (finding := rule.examine(evidence))]
    return [
        replace(each, severity="warning") if _beside(each, evidence) else each for each in found
    ]


def explain(evidence: Evidence, message: str) -> Finding | None:
    """Return the finding behind the message that ended a run, None where no rule knows it."""
    before = evidence.told("")
    after = evidence.told(message)
    return next(
        (
            finding
            for rule in RULES
            if rule.detect(before) is None and (finding := rule.examine(after))
        ),
        None,
    )


def _beside(finding: Finding, evidence: Evidence) -> bool:
    """Say whether it is about an engine that runs do not take."""
    route = evidence.route
    if route is None or not route.ready:
        return False
    other = {"native": (Group.ENGINE, Group.IMAGE), "container": (Group.NATIVE,)}[route.engine]
    return finding.group in other
