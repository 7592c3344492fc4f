"""A run of several that share the files by a rule and need not know of each other. Pure.

The rule looks at a file's path below what was named, and at nothing else: a file stays in its shard
whatever comes to lie beside it, wherever the folder is moved to, and on whichever system.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sep_launcher.planning import names
from sep_protocol.errors import UsageError

if TYPE_CHECKING:
    from pathlib import PurePath

MOST = 1_000_000
HINT = "for example --shard 0/4 of four runs, the others 1/4, 2/4 and 3/4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """The one of that number, from 0, of so many."""

    number: int
    count: int

    def has(self, below: PurePath) -> bool:
        """Say whether a file is in it, by its path below what was named."""
        text = unicodedata.normalize("NFC", below.as_posix())
        digest = hashlib.sha256(names.raw(text)).digest()
        return int.from_bytes(digest, "big") % self.count == self.number

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def shard(text: str) -> Shard:
    """Return the shard that `K/N` names; raise UsageError for what names none."""
    found = re.fullmatch(r"(\d{1,7})/(\d{1,7})", text.strip(), re.ASCII)
    if not found:
        raise UsageError(f"--shard {text!r} is not a number, a stroke and a number", hint=HINT)
    number, count = int(found[1]), int(found[2])
    if not 1 <= count <= MOST:
        raise UsageError(f"--shard counts from 1 to {MOST} shards, not {count}", hint=HINT)
    if number >= count:
        raise UsageError(
            f"--shard counts from 0: of {count} the last is {count - 1}/{count}", hint=HINT
        )
    return Shard(number=number, count=count)
