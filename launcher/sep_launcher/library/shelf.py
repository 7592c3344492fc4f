"""A few small texts beside the output, read and written by many machines."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Protocol

from sep_protocol.errors import PathError

if TYPE_CHECKING:
    from pathlib import Path


class Shelf(Protocol):
    """A place for texts with names."""

    def names(self) -> list[str]:
        """Return the names of what is there; none where the place is missing."""

    def read(self, name: str) -> str | None:
        """Return a text, None where it is not there or cannot be read."""

    def write(self, name: str, text: str) -> None:
        """Replace a text as a whole; raise OSError where it cannot be."""

    def create(self, name: str, text: str) -> bool:
        """Write a text that is not there yet; False where somebody else has."""

    def remove(self, name: str) -> None:
        """Take a text away; nothing is said where that cannot be."""


class Folder:
    """A Shelf that is a folder; made when it is first written to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """Return the names of the files."""
        try:
            return sorted(each.name for each in self.path.iterdir() if each.suffix == ".json")
        except OSError:
            return []

    def read(self, name: str) -> str | None:
        """Return a file's text."""
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def write(self, name: str, text: str) -> None:
        """Write a new file and give it the name."""
        new = self.path / f"{name}.{os.getpid()}.new"
        new.write_text(text, encoding="utf-8")
        new.replace(self.path / name)

    def create(self, name: str, text: str) -> bool:
        """Make the file, and the folder; raise PathError where that fails for another reason."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with (self.path / name).open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            return False
        except OSError as fault:
            raise PathError(f"{self.path} cannot be written: {fault.strerror}") from fault
        return True

    def remove(self, name: str) -> None:
        """Remove the file."""
        with contextlib.suppress(OSError):
            (self.path / name).unlink()
