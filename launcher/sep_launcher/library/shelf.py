"""A few small texts beside the output, read and written by many machines: on a disk, in a store."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Protocol

from sep_launcher.machine import storage
from sep_launcher.machine.storage import StorageError
from sep_protocol.errors import PathError

MOST_BYTES = 64 << 20  # of a text: a run in which every track failed says so of each


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
        path, made = self.path / name, False
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                made = True
                file.write(text)
        except FileExistsError:
            return False
        except OSError as fault:
            if made:  # on a full disk: half a text would stand in everybody's way
                self.remove(name)
            raise PathError(f"{self.path} cannot be written: {fault.strerror}") from fault
        return True

    def remove(self, name: str) -> None:
        """Remove the file."""
        with contextlib.suppress(OSError):
            (self.path / name).unlink()


class Objects:
    """A Shelf in an object store, below an address."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._never = threading.Event()

    def names(self) -> list[str]:
        """Return the names of the objects; raise StorageError where the store does not answer."""
        found = (storage.name(each.url) for each in storage.inside(self._url))
        return sorted(each for each in found if each.endswith(".json"))

    def read(self, name: str) -> str | None:
        """Return an object's text; raise StorageError where the store does not answer."""
        found = storage.read(storage.joined(self._url, name), MOST_BYTES)
        try:
            return None if found is None else found.decode()
        except UnicodeDecodeError:
            return None

    def write(self, name: str, text: str) -> None:
        """Store the object; stores show the old one until the new one is whole."""
        try:
            storage.put(storage.joined(self._url, name), text.encode(), self._never)
        except StorageError as fault:
            raise OSError(fault.message) from fault

    def create(self, name: str, text: str) -> bool:
        """Store an object that is not there; raise StorageError where that fails."""
        return storage.create(storage.joined(self._url, name), text.encode(), self._never)

    def remove(self, name: str) -> None:
        """Remove the object."""
        with contextlib.suppress(StorageError):
            storage.remove(storage.joined(self._url, name), self._never)


def shelf_of(root: str, name: str) -> Shelf:
    """Return the shelf of this name in an output folder, or below an address."""
    return Objects(storage.joined(root, name)) if storage.is_url(root) else Folder(Path(root, name))
