"""What found files are called: their paths below what was named, each a name of its own. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from sep_launcher.planning import names

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sep_launcher.machine.storage import Entry

NOWHERE = PurePath()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file to separate and the name that its stems go under."""

    path: Path  # of an object in a store: what its address looks like as one
    name: PurePath  # relative; it may have folders
    below: PurePath = NOWHERE  # its path from what was named; of a file that was, its name
    entry: Entry | None = None  # of an object in a store


@dataclass(slots=True, eq=False, kw_only=True)
class Root:
    """A folder that files were found below: a named one, a glob's fixed part, a file's own."""

    path: Path  # absolute
    own: bool = False  # it was called by its name, so that tracks may be called after it
    kept: int = 0  # how many of its last parts begin the names of its tracks

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the folders on the way to it, itself the last."""
        return self.path.parts[1:]

    def name(self, below: PurePath) -> PurePath:
        """Return the name of a file by its path below this folder."""
        return names.track(PurePath(*self.parts[len(self.parts) - self.kept :], below))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A file that was found."""

    path: Path
    root: Root
    below: PurePath  # its path from there
    entry: Entry | None = None  # of an object in a store


def named(hits: list[Hit], roots: list[Root]) -> tuple[Found, ...]:
    """Return the files with their names, which depend on what else was named, not on what is there.

    A file has its path below its root as name. Where several roots are named, the name of a folder
    goes before it, and so do names of folders above it as far as two would else be one.
    """
    if len(roots) > 1:
        for root in roots:
            root.kept = int(root.own)
        _part((root, PurePath("x")) for root in roots if root.own)
    _part((hit.root, hit.below) for hit in hits)
    found = [
        Found(path=hit.path, name=hit.root.name(hit.below), below=hit.below, entry=hit.entry)
        for hit in hits
    ]
    return tuple(_distinct(found))


def _part(found: Iterable[tuple[Root, PurePath]]) -> None:
    """Let roots keep as many names of folders as it takes to tell their files apart."""
    files = [
        (names.key(names.track(PurePath(*each.parts, below))), each, below) for each, below in found
    ]
    while True:
        alike: dict[str, dict[str, Root]] = {}
        for whole, root, below in files:
            alike.setdefault(names.key(root.name(below)), {})[whole] = root
        more = {
            root
            for roots in alike.values()
            if len(roots) > 1  # else no folder tells them apart
            for root in roots.values()
            if root.kept < len(root.parts)
        }
        if not more:
            return
        for root in more:
            root.kept += 1


def _distinct(found: list[Found]) -> list[Found]:
    """Give files of one name different ones: a wav keeps its own, others add their ending.

    So `song.wav` stays `song` when a `song.mp3` comes to lie beside it.
    """
    order = sorted(range(len(found)), key=lambda i: found[i].path.suffix.lower() != ".wav")
    given: dict[int, PurePath] = {}
    used: set[str] = set()
    for i in order:
        name = plain = found[i].name
        ending = found[i].path.suffix.lower()
        if names.key(name) in used and ending != ".wav":
            name = plain = name.with_name(names.portable(f"{name.name}_{ending.lstrip('.')}"))
        number = 2
        while names.key(name) in used:
            name, number = plain.with_name(f"{plain.name}-{number}"), number + 1
        used.add(names.key(name))
        given[i] = name
    return [replace(each, name=given[i]) for i, each in enumerate(found)]
