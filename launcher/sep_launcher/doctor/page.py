"""`python -m sep_launcher.doctor.page`: docs/troubleshooting.md out of the rules."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sep_launcher.doctor.catalogue import RULES
from sep_launcher.doctor.rule import REPAIR, REPAIR_HERE
from sep_launcher.show.finding import Group

if TYPE_CHECKING:
    from sep_launcher.doctor.rule import Rule
    from sep_launcher.show.finding import Fix

HEAD = """\
# Troubleshooting

<!-- Made of the rules by: python -m sep_launcher.doctor.page > docs/troubleshooting.md -->

`sep doctor` looks for all of this in a second or two and names what it finds, with the line that
fixes it. A run that fails names its finding, too. An error is shown as a warning where runs take
another way. `sep doctor --deep` separates a clip of four seconds on every way that is set up, in
every precision that its device has, and compares the stems with the CPU's;
`sep doctor --bundle report.json` writes a report to send along, without your name, your machine's
and your home. FOLDER and PYTHON are this machine's, as `sep doctor` tells them; "the runtime" is
the part of sep that imports PyTorch.
"""
SHOWN = {
    REPAIR_HERE: f"{REPAIR} (in an environment of your own: use its pip)",
    "{python}": "PYTHON",
    "{data}": "FOLDER",
}
SYSTEMS = (("linux", "Linux"), ("macos", "macOS"), ("windows", "Windows"))


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    for group in Group:
        parts.append(f"\n## {group}\n")
        parts += [_entry(each) for each in RULES if each.group is group]
    return "".join(parts)


def _entry(rule: Rule) -> str:
    fixes = _fixes(rule.fix)
    lines = [f"### {rule.id}", "", f"{rule.title} ({rule.severity}).", f"Breaks {rule.breaks}.", ""]
    for name, shown in SHOWN.items():
        fixes = [each.replace(name, shown) for each in fixes]
    lines += fixes
    return "\n" + "\n".join(lines) + "\n"


def _fixes(fix: Fix) -> list[str]:
    by_line: dict[str, list[str]] = {}
    for system, name in SYSTEMS:
        by_line.setdefault(fix.on(system), []).append(name)  # type: ignore[arg-type]
    if len(by_line) == 1:
        return [f"- {next(iter(by_line))}"]
    return [f"- {', '.join(names)}: {line}" for line, names in by_line.items()]


if __name__ == "__main__":
    sys.stdout.write(page())
