"""What addresses in object stores name: objects, folders and globs, without what sep made."""

from __future__ import annotations

import glob
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal, TypeVar

from sep_launcher.machine import storage
from sep_launcher.planning import names, outputs
from sep_protocol import REPORT
from sep_protocol.errors import PathError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sep_launcher.machine.storage import Entry

A = TypeVar("A")
R = TypeVar("R")
Kind = Literal["object", "folder", "glob"]
AT_ONCE = 64  # requests: stores answer slowly, and many at a time
MAKING = names.HIDDEN  # before a report's name: stems without a report that are ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    """An object, and its path below what was named."""

    entry: Entry
    below: PurePosixPath


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What an address names."""

    kind: Kind
    folder: str  # the address that the paths of its objects begin at
    found: tuple[Object, ...]
    made: int = 0  # how many were passed over because sep made them


def look(url: str) -> Seen:
    """Return what an address names.

    Raises UsageError or NotReadyError for one that is not for us, PathError (StorageError) for
    nothing there, a missing bucket, or a store that refuses.
    """
    storage.check(url)
    if not url.endswith("/") and (entry := storage.stat(url)):
        one = Object(entry=entry, below=PurePosixPath(storage.name(url)))
        return Seen(kind="object", folder=storage.parent(url), found=(one,))
    if glob.has_magic(url):
        folder = _fixed(url)
        matched = storage.matching(url, folder)
        around = sorted({storage.parent(each.url) for each in matched})
        listed = [each for some in many(storage.inside, around) for each in some]
        return _seen("glob", folder, matched, listed)
    found = storage.below(url)
    if not found:
        raise PathError(f"there is nothing at {url}")
    return _seen("folder", url.rstrip("/"), found, found)


def many(ask: Callable[[A], R], about: Iterable[A]) -> list[R]:
    """Return what a question gives about each of many, in their order, many at a time."""
    todo = list(about)
    if not todo:
        return []
    pool = ThreadPoolExecutor(min(AT_ONCE, len(todo)), "store")
    try:
        return list(pool.map(ask, todo))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C waits for few


def place(url: str) -> Path:
    """Return what an address looks like as a path: names of tracks are taken from it."""
    scheme, _, rest = url.partition("://")
    return Path("/", scheme, *filter(None, rest.split("/")))


def stems_in(report: bytes | None) -> set[str]:
    """Return the names of the files that a report, or the note before it, says are its stems."""
    try:
        return outputs.stems(json.loads(report or b""))
    except (ValueError, RecursionError):
        return set()


def _seen(kind: Kind, folder: str, found: Sequence[Entry], listed: Sequence[Entry]) -> Seen:
    """Return what is neither hidden nor made by sep; `listed` is all that lies beside it."""
    start = len(folder.rstrip("/")) + 1
    parts = [(each, PurePosixPath(each.url[start:])) for each in found]
    plain = [
        Object(entry=entry, below=below)
        for entry, below in parts
        if not any(part.startswith(".") for part in below.parts)
    ]
    own, shared = _made(listed)
    kept = tuple(
        each
        for each in plain
        if each.entry.url not in shared and not _is_in(each.entry.url, folder, own)
    )
    return Seen(kind=kind, folder=folder, found=kept, made=len(plain) - len(kept))


def _made(listed: Sequence[Entry]) -> tuple[set[str], set[str]]:
    """Return the folders of tracks among what is listed, and the stems in folders of many."""
    own: set[str] = set()
    reports: list[Entry] = []
    for each in listed:
        name = storage.name(each.url)
        if name in (REPORT, f"{MAKING}{REPORT}"):
            own.add(storage.parent(each.url))
        elif "sep" in name and name.endswith(".json"):
            reports.append(each)
    read = many(lambda entry: storage.read_listed(entry, outputs.REPORT_BYTES), reports)
    shared = {
        storage.joined(storage.parent(each.url), stem)
        for each, report in zip(reports, read, strict=True)
        for stem in stems_in(report)
    }
    return own, shared


def _is_in(url: str, folder: str, own: set[str]) -> bool:
    """Say whether an object lies in one of these folders, at whatever depth below `folder`."""
    above = storage.parent(url)
    while len(above) >= len(folder.rstrip("/")):
        if above in own:
            return True
        above = storage.parent(above)
    return False


def _fixed(pattern: str) -> str:
    """Return the folder that a glob begins in."""
    parts = pattern.split("/")
    return "/".join(parts[: next(i for i, part in enumerate(parts) if glob.has_magic(part))])
