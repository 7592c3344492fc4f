"""What a mix is known by without being read: as its report notes it, and as it is now."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SECOND = 1_000_000_000  # ns


def mark(path: str | os.PathLike[str]) -> dict[str, int]:
    """Return a file's size in bytes and its time in ns, under a report's names; raises OSError."""
    found = os.stat(path)  # noqa: PTH116 (texts, by thousands)
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns}


def is_same(noted: Any, now: Mapping[str, object], path: str) -> bool:  # noqa: ANN401 (JSON)
    """Say whether the `mix` of a report is of the file that is called `path` and known by `now`.

    Archives and old disks give many files one time of whole seconds, and clips of a data set have
    one size. So with such a time a file must have the path that was noted, too. Raises TypeError or
    LookupError for what is no `mix`.
    """
    if not now or any(noted[name] != value for name, value in now.items()):
        return False
    time = now.get("mtime_ns")
    return not (isinstance(time, int) and time % SECOND == 0) or bool(noted["path"] == path)
