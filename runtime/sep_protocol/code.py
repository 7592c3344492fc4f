"""Which code this is: between two releases the version says nothing, the files do."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ("sep_protocol", "sep_runtime", "sep_models")
KINDS = (".py", ".toml")  # weights have digests of their own


@cache
def digest() -> str:
    """Return a digest of all that the runtime is made of, as this Python would import it.

    Nothing is imported for it. Empty where it cannot be read.
    """
    found = hashlib.sha256()
    try:
        for package in PACKAGES:
            spec = find_spec(package)
            folder = os.path.dirname(spec.origin or "") if spec else ""  # noqa: PTH120 (quicker)
            for name, path in sorted(_files(folder, package)):
                found.update(f"{name}\0".encode())
                found.update(Path(path).read_bytes())
    except (OSError, UnicodeError):
        return ""
    return found.hexdigest()[:12]


def _files(folder: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield name and path of every file in a package."""
    with os.scandir(folder) as entries:
        for each in entries:
            if each.name.endswith(KINDS):
                yield f"{name}/{each.name}", each.path
            elif each.name != "__pycache__" and each.is_dir():
                yield from _files(each.path, f"{name}/{each.name}")
