"""What `sep doctor` found, as lines for people and as the document of `--json`."""

from __future__ import annotations

import platform
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sep_launcher.doctor.catalogue import RULES
from sep_launcher.planning.precisions import passes
from sep_launcher.show.finding import Group
from sep_protocol.errors import ExitCode
from sep_protocol.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sep_launcher.doctor.evidence import Evidence, Tried
    from sep_launcher.show.finding import Finding

SCHEMA = 1  # of the document; a field is never renamed or taken away under the same number
WIDTH = 20
FIX = "fix:"  # begins what is to be typed: lines that are never parted
GIB = 1 << 30
NAMES = {"linux": "Linux", "macos": "macOS", "windows": "Windows"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One examination."""

    evidence: Evidence
    findings: tuple[Finding, ...]
    installed: dict[str, str]  # in the runtime's Python
    seconds: float  # of all but the runtime's Python and --deep

    @property
    def exit_code(self) -> int:
        """1 where a finding is an error."""
        errors = any(each.severity == "error" for each in self.findings)
        return ExitCode.TRACK_FAILED if errors else ExitCode.OK

    def document(self) -> dict[str, Any]:
        """Return the document of `--json`, not redacted yet."""
        evidence = self.evidence
        route = evidence.route
        return {
            "schema": SCHEMA,
            "sep": __version__,
            "exit_code": int(self.exit_code),
            "findings": [{**asdict(each), "group": each.group.value} for each in self.findings],
            "route": asdict(route) if route else None,
            "host": asdict(evidence.host),
            "graphics": asdict(evidence.graphics),
            "disks": [asdict(each) for each in evidence.disks],
            "weights": [asdict(each) for each in evidence.weights],
            "recorded": asdict(evidence.recorded),
            "runtime": asdict(evidence.answers) if evidence.answers else None,
            "ray": asdict(evidence.ray) if evidence.ray else None,
            "mounts": [asdict(each) for each in evidence.mounts],
            "stores": [asdict(each) for each in evidence.stores],
            "tried": [asdict(each) for each in evidence.tried],
            "variables": dict(evidence.variables),
            "packages": self.installed,
            "rules": len(RULES),
            "seconds": self.seconds,
        }


def head(evidence: Evidence) -> list[str]:
    """Return what the machine is and where runs go."""
    host = evidence.host
    processor = platform.machine()
    memory = f"{host.memory / GIB:.1f} GiB"
    system = f"{NAMES[host.system]} {host.version}, {processor}"
    lines = [f"sep {__version__} on {system}, {host.cores:g} cores, {memory}"]
    route = evidence.route
    if route is None:
        return [*lines, "runs go nowhere so far", ""]
    set_up = "" if route.ready else ", which is not set up"
    return [*lines, f"runs go: {route.engine} {route.device}{set_up} ({route.reason})", ""]


def section(group: Group, evidence: Evidence, findings: Iterable[Finding]) -> list[str]:
    """Return the lines about a group."""
    mine = [each for each in findings if each.group == group]
    if not mine:
        known = _known(group, evidence)
        return [f"{group:{WIDTH}}fine" + (f": {known}" if known else "")]
    lines = []
    for index, each in enumerate(mine):
        name = "" if index else group.value
        lines.append(f"{name:{WIDTH}}{each.severity}: {each.title} [{each.id}]")
        pad = " " * WIDTH
        lines += [
            f"{pad}  {each.detail}",
            f"{pad}  breaks: {each.breaks}",
            f"{pad}  {FIX}    {each.fix}",
        ]
    return lines


def tried(each: Tried) -> str:
    """Return the line about one way of `--deep`, in one precision."""
    name = f"{each.engine} {each.device} {each.precision}"
    if each.fault or each.refused:
        return f"{name:{WIDTH}}{'fails' if each.fault else 'refused'}: {each.fault or each.refused}"
    exact = "the reference" if each.snr is None else f"{each.snr:.0f} dB beside the CPU"
    if each.snr is not None and not passes(each.snr):
        exact += ", not good enough"
    return f"{name:{WIDTH}}{exact}, {each.seconds:.1f} s ({each.name})"


def foot(report: Report) -> list[str]:
    """Return the sum."""
    counts = Counter(each.severity for each in report.findings)
    told = [
        f"{counts[each]} {each}{'s' * (counts[each] != 1)}"
        for each in ("error", "warning")
        if counts[each]
    ]
    took = f"{len(RULES)} checks, {report.seconds:.1f} s"
    if report.evidence.answers:
        took += f"; PyTorch and its packages {report.evidence.answers.seconds:.1f} s"
    return ["", f"{' and '.join(told) or 'all is well'} ({took})"]


def _known(group: Group, evidence: Evidence) -> str:
    host = evidence.host
    match group:
        case Group.GPU:
            found = ", ".join(f"{gpu.name}, driver {gpu.driver}" for gpu in host.gpus)
            return found or ("Apple GPU" if host.apple_gpu else "none")
        case Group.ENGINE:
            docker = host.docker
            alone = "the docker command is here, an engine is not, which is not needed"
            none = alone if evidence.docker_command else "no Docker, which is not needed"
            return f"Docker {docker.version}" if docker else none
        case Group.IMAGE:
            return ", ".join(host.docker.images) if host.docker and host.docker.images else "none"
        case Group.FILES:
            return ", ".join(each.model for each in evidence.weights)
        case Group.LIBRARY:
            version = evidence.ray.version if evidence.ray else ""
            return f"Ray {version}" if version else "no Ray, which is not needed"
        case Group.NATIVE:
            answers = evidence.answers
            torch = answers.package("torch") if answers else None
            return (
                f"Python {answers.python}, torch {torch.version}" if answers and torch else "none"
            )
        case Group.DEVICES:
            ways = (f"{each.engine} {each.device}" for each in evidence.tried)
            return ", ".join(dict.fromkeys(ways))
        case _:
            return ""
