"""A track's stems into a folder of many tracks' stems: all of them or none, as with a folder's own.

A note says what moves in and what gives way, before anything does. From then on the moves are ended
by whoever comes, this process or a later one's sweep: each looks only at what is where. The report
moves last: where it is no longer among the new files, all is done. What gives way is known by its
size and time, so a file that came into its place since is never touched, whoever wrote the note.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Any

from sep_protocol import Track
from sep_protocol.errors import TrackError
from sep_runtime import lasting

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NEW = "new"
OLD = "old"
SECONDS = 2  # that some disks round times to, once they are mounted again
HINT = "move it away, or choose another folder with --out"


class CameError(TrackError):
    """Something came to be in a track's place while its stems were made."""


def came(path: Path) -> CameError:
    """Return the error for what came to be there."""
    return CameError(
        "{path} came to be there while its stems were made",
        hint="--overwrite replaces it",
        path=str(path),
    )


def note_of(out: Path, report: str, names: Iterable[str], *, replace: bool) -> dict[str, Any]:
    """Return the note for a track: its stems' files, its report, and the old files in their place.

    Old stems that its old report names are among those. Raises TrackError for what is no regular
    file, and its CameError for anything else without `replace`.
    """
    names = list(names)
    was = {}
    for name in (*names, report):
        found = _mark(out / name)
        if found is None and os.path.lexists(out / name):
            message = "{path} is not a plain file, so it is not replaced"
            raise TrackError(message, hint=HINT, path=str(out / name))
        if found is not None and not replace:
            raise came(out / name)
        if found is not None:
            was[name] = found
    for name in _own(out, report) - set(was):
        if found := _mark(out / name):
            was[name] = found
    return {"report": report, "stems": names, "was": was}


def forward(root: Path, note: Any) -> None:  # noqa: ANN401 (JSON)
    """End what a note in a work folder began, in the folder around it, or find it ended.

    Raises OSError where that cannot be, now: nothing is lost. Raises ValueError and its like for a
    note that cannot be ours.
    """
    out, new, old = root.parent, root / NEW, root / OLD
    report, stems, was = _checked(note)
    if not (new / report).is_file():
        return
    waiting = [name for name in (*stems, report) if os.path.lexists(new / name)]
    for name in waiting:
        if os.path.lexists(out / name) and not _is(out / name, was.get(name)):
            raise FileExistsError(errno.EEXIST, f"{name} came into its place")
    old.mkdir(exist_ok=True)
    # The report first: without it nobody takes the rest for a track. A stem that is in already is
    # not taken for the one that was there, though a disk may have lost where that one went.
    aside = [name for name in was if name in waiting or name not in stems]
    for name in sorted(aside, key=lambda each: each != report):
        if not os.path.lexists(old / name) and _is(out / name, was[name]):
            (out / name).rename(old / name)
    for name in waiting:
        if name == report:
            lasting.sync(out)
        (new / name).rename(out / name)
    lasting.sync(out)


def back(root: Path, note: Any) -> None:  # noqa: ANN401 (JSON)
    """Undo what `forward` did before it failed; what cannot be undone stays to be ended."""
    out, new, old = root.parent, root / NEW, root / OLD
    report, stems, was = _checked(note)
    for name in (report, *stems):
        if not os.path.lexists(new / name):
            (out / name).rename(new / name)
    for name in was:
        if os.path.lexists(old / name) and not os.path.lexists(out / name):
            (old / name).rename(out / name)
    with contextlib.suppress(FileNotFoundError):
        old.rmdir()
    lasting.sync(out)


def clear(root: Path, note: Any) -> None:  # noqa: ANN401 (JSON)
    """Remove what gave way; raises OSError where there is more than that."""
    old = root / OLD
    if old.exists():
        for name in _checked(note)[2]:
            (old / name).unlink(missing_ok=True)
        old.rmdir()


def is_note(found: object) -> bool:
    """Say whether a note is of this kind."""
    return isinstance(found, dict) and {"report", "stems", "was"} == set(found)


def _checked(note: Any) -> tuple[str, list[str], dict[str, list[int]]]:  # noqa: ANN401
    """Return what a note says; raise ValueError or TypeError for what we would not write."""
    report = lasting.plain(note["report"])
    stems = [lasting.plain(name) for name in note["stems"]]
    marks = {**note["was"]}
    was = {lasting.plain(name): [int(each) for each in mark] for name, mark in marks.items()}
    audio = {*stems, *was} - {report}
    if not report.endswith(".json") or not all(name.endswith(lasting.ENDINGS) for name in audio):
        raise ValueError("it names files that are no stems")
    return report, stems, was


def _mark(path: Path) -> list[int] | None:
    """Return what a regular file is known by, None for anything else."""
    with contextlib.suppress(FileNotFoundError):
        found = path.lstat()
        if stat.S_ISREG(found.st_mode):
            return [found.st_size, found.st_mtime_ns]
    return None


def _is(path: Path, mark: list[int] | None) -> bool:
    found = _mark(path)
    if found is None or mark is None:
        return False
    return found[0] == mark[0] and abs(found[1] - mark[1]) <= SECONDS * 1_000_000_000


def _own(out: Path, report: str) -> set[str]:
    """Return the names of the stems in an old report that can only be this track's."""
    try:
        found = lasting.reported(out / report)
        template = str(found["settings"]["stem_name"])
        track = Track(audio="", out="", shared=True, stem_name=template)
        if track.report != report:
            return set()
        made = {track.file_of(str(stem)) for stem in found["stems"]}
    except (OSError, ValueError, LookupError, TypeError):
        return set()
    return {n for n in lasting.stems(out / report) if os.path.splitext(n)[0] in made}  # noqa: PTH122
