"""An error and what the doctor found behind it, without saying one thing twice. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sep_launcher.show.finding import Finding

# What a hint tells people to type: a command of sep, an option, a variable.
TYPED = re.compile(r"\bsep [a-z]+(?: [a-z]+)?|--[a-z-]+|\b[A-Z]+_[A-Z_]+\b|\bstart Docker\b")


def faults(error: dict[str, Any] | None, findings: Sequence[Finding]) -> Iterator[tuple[str, str]]:
    """Yield lines with their hints. A finding that mends it as the error's hint does is its id."""
    hint = str(error["hint"]) if error else ""
    same = [each for each in findings if hint and _typed(hint) & _typed(each.fix)]
    if error:
        ids = "".join(f" [{each.id}]" for each in same)
        yield f"error: {error['message']}{ids}", hint
    for each in findings:
        if each not in same:
            yield f"sep doctor: {each.title} [{each.id}]", each.fix


def _typed(hint: str) -> set[str]:
    return set(TYPED.findall(hint))
