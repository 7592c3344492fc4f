"""Files that tell a later process what was done: on the disk before anything depends on them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PREFIX = ".sep-"  # of our work folders
ENDINGS = (".wav", ".flac", ".mp3", ".ogg")  # of what an earlier run may have written
REPORT_BYTES = 1 << 20


def write(path: Path, found: Mapping[str, object]) -> None:
    """Write JSON and wait until the disk has it."""
    with path.open("w", encoding="ascii") as file:
        file.write(json.dumps(found, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Make renames in the folder last; Windows has no such call and needs none."""
    if os.name != "nt":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def reported(path: Path) -> Any:  # noqa: ANN401 (anything of JSON)
    """Return what a report says; raises OSError, or ValueError for what is none of ours."""
    if not path.is_file() or path.stat().st_size > REPORT_BYTES:
        raise ValueError("it is no report")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as fault:
        raise ValueError("it is no report") from fault


def stems(report: Path) -> set[str]:
    """Return the names of the stems that an earlier run reported, none where nothing is known."""
    try:
        found = reported(report)["stems"].values()
        names = {str(stem["file"]) for stem in found}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return set()
    return {os.path.basename(name) for name in names if name.endswith(ENDINGS)}  # noqa: PTH119


def plain(name: object) -> str:
    """Return a name that is one component and no more; raise ValueError for any other."""
    if not isinstance(name, str) or name in ("", ".", "..") or name.startswith(PREFIX):
        raise ValueError("it is no name")
    if any(char in "/\\" or char < " " for char in name):
        raise ValueError(f"{name!r} is no name of a track")
    return name
