"""Where stems may go: what is there already, what sep made of it, what can be written."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sep_launcher.machine import disk
from sep_launcher.planning import names
from sep_protocol import REPORT
from sep_protocol.errors import ExistsError, PathError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sep_protocol import Output, Track

OTHER = "choose another with --out"
APART = "another --out, or --name '{parent}/{track}/{stem}', keeps both; or remove that first"
REPORT_BYTES = 1 << 20  # more than any report has


def made(folder: Path, entries: Iterable[str]) -> set[str]:
    """Return which of a folder's files sep made; with a REPORT among them it made the folder."""
    found = set()
    for entry in entries:
        if entry == REPORT:
            found.add(entry)
        elif "sep" in entry and entry.endswith(".json"):  # of a track in a shared folder
            found |= stems(_report(folder / entry))
    return found


def _report(path: Path) -> Any:  # noqa: ANN401 (anything of JSON)
    try:
        if disk.is_file(path) and path.stat().st_size <= REPORT_BYTES:
            return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        pass
    return None


def stems(report: Any) -> set[str]:  # noqa: ANN401
    """Return the names of the files that a report, or what may be one, says are its stems."""
    try:
        return {str(stem["file"]) for stem in report["stems"].values()} if report["sep"] else set()
    except (LookupError, TypeError, AttributeError):
        return set()


def check_outputs(
    folders: list[Path], mixes: list[Path], *, overwrite: bool, resume: bool = False
) -> None:
    """Raise PathError where stems are there already, or where no folder can be made.

    No output folder may hold one of the mixes, even with `overwrite`: a stem could replace it.
    """
    if not folders:
        return
    modes = {folder: disk.mode(folder, links=True) for folder in folders}
    for folder, mode in modes.items():
        if stat.S_ISLNK(mode):
            raise PathError(
                f"{folder} is a link: a track's folder is replaced as a whole",
                hint="remove the link, or choose another folder with --out",
            )
    real = [os.path.realpath(mix) for mix in mixes]
    _check_folders(modes, mixes, real)
    known = set(real)
    there = [folder for folder, mode in modes.items() if mode]
    if resume:  # somebody looks whether they are the same
        there = [folder for folder in there if not disk.is_file(folder / REPORT)]
    taken = [folder for folder in there if not _is_empty(folder)]
    if taken and not overwrite:
        raise _taken(taken, taken[0] / REPORT, known, resume=resume)
    for folder in taken:
        _check_same(folder, folder / REPORT, known)
    _check_writable(
        {folder.parent for folder, mode in modes.items() if not mode or folder in taken}
    )


def check_shared(
    tracks: Sequence[Track], stems: Sequence[str], mixes: list[Path], output: Output
) -> None:
    """Raise PathError where files of tracks that share folders are there, or cannot be written.

    `stems` are those that are known to be made. Links and folders are not even replaced with
    `overwrite`.
    """
    if not tracks:
        return
    folders = {Path(track.out): disk.mode(track.out) for track in tracks}
    real = [os.path.realpath(mix) for mix in mixes]
    _check_folders(folders, mixes, real)
    known = set(real)
    begun = {folder for folder in folders if _is_begun(folder)}
    taken: list[tuple[Path, Path]] = []  # the first file of a track, and its report
    for track in tracks:
        folder = Path(track.out)
        files = [folder / f"{track.file_of(stem)}.{output.format}" for stem in stems]
        report = folder / track.report
        modes = {file: disk.mode(file, links=True) for file in (*files, report)}
        there = [file for file, mode in modes.items() if mode]
        for file in there:
            if not stat.S_ISREG(modes[file]):
                raise PathError(f"{file} is not a plain file, so it is not replaced", hint=OTHER)
        # Somebody looks whether they are the same, and ends what a dead one had begun.
        if there and not (output.resume and (folder in begun or modes[report])):
            taken.append((there[0], report))
    if taken and not output.overwrite:
        raise _taken([each for each, _ in taken], taken[0][1], known, resume=output.resume)
    for first, report in taken:
        _check_same(first, report, known)
    _check_writable(folders)


def _check_folders(folders: Mapping[Path, int], mixes: list[Path], real: list[str]) -> None:
    """Raise PathError for files in the place of folders, and for mixes in them."""
    for folder, mode in folders.items():
        if mode and not stat.S_ISDIR(mode):
            raise PathError(
                f"{folder} is not a folder", hint="move it away, or choose another with --out"
            )
    ours = {os.path.realpath(folder) for folder in folders}
    for mix, path in zip(mixes, real, strict=True):
        if os.path.dirname(path) in ours:  # noqa: PTH120 (a text)
            raise PathError(f"the stems would go into the folder of {mix}", hint=OTHER)


def _taken(there: list[Path], report: Path, real: set[str], *, resume: bool) -> PathError:
    """Return the error for what is there, with a way out where it was made of another song."""
    more = f" and {len(there) - 1} more" if len(there) > 1 else ""
    exist = "exist" if more else "exists"
    if other := _other(report, real):
        kind = PathError if disk.is_file(Path(other)) else ExistsError  # else it may be replaced
        return kind(f"{there[0]}{more} {exist} already, made of {other}", hint=APART)
    return ExistsError(
        f"{there[0]}{more} {exist} already",
        hint=f"--overwrite replaces {'them' if more else 'it'}"
        + ("" if resume else ", --resume leaves what is done"),
    )


def _check_same(there: Path, report: Path, real: set[str]) -> None:
    """Raise PathError where stems of another song would be replaced, which is there, too."""
    other = _other(report, real)
    if other and disk.is_file(Path(other)):
        raise PathError(f"{there} was made of another song, {other}", hint=APART)


def _other(report: Path, real: set[str]) -> str:
    """Return the song that stems were made of, nothing for one of these files or an unknown one."""
    try:
        other = str(_report(report)["mix"]["path"])
    except (LookupError, TypeError):
        return ""
    return "" if os.path.realpath(other) in real else other


def _is_begun(folder: Path) -> bool:
    """Say whether a runtime works here, or died at it."""
    try:
        return any(names.is_work(each.name) for each in folder.iterdir())
    except OSError:
        return False


def _check_writable(folders: Iterable[Path]) -> None:
    """Raise PathError unless all can be made and written; each that is there is tried once."""
    for there in {_nearest(folder) for folder in folders}:
        try:  # asking for permissions does not tell: root, read-only disks, network shares
            Path(tempfile.mkdtemp(prefix=names.HIDDEN, dir=there)).rmdir()
        except OSError as fault:
            raise PathError(f"{there} cannot be written: {fault.strerror}", hint=OTHER) from fault


def _nearest(folder: Path) -> Path:
    """Return the first folder on the way up that is there; raise PathError for a dead link."""
    there = folder
    while not disk.exists(there) and there != there.parent:
        if os.path.islink(there):  # noqa: PTH114 (Path's raises)
            raise PathError(f"{there} is a link to nothing", hint=OTHER)
        there = there.parent
    return there


def _is_empty(folder: Path) -> bool:
    """Say whether a folder has nothing in it; raise PathError where that cannot be seen."""
    try:
        return not any(folder.iterdir())
    except OSError as fault:
        raise PathError(f"{folder} cannot be read: {fault.strerror}", hint=OTHER) from fault
