"""The files that the user named: what is there, and what may be written."""

from __future__ import annotations

import glob
import os
import tempfile
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from sep_protocol import REPORT
from sep_protocol.errors import PathError, UsageError

# What a folder or glob is searched for. A file that is named itself is always tried.
ENDINGS = frozenset(
    {".wav", ".wave", ".w64", ".flac", ".aif", ".aiff", ".aifc", ".caf", ".au"}
    | {".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".wma"}
)
# A glob may also name these; a folder of films is not searched for music.
VIDEOS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file to separate and the name that its stems go under."""

    path: Path
    name: PurePath  # relative; below a named folder it keeps that folder's structure


def find(patterns: tuple[str, ...]) -> list[Found]:
    """Return the audio files that paths, folders and globs name, each once, in their order.

    Raises UsageError for none at all, PathError for a pattern without a file.
    """
    if not patterns:
        raise UsageError("no file was named", hint="sep run song.wav")
    found: dict[Path, Found] = {}
    for pattern in patterns:
        for each in _matches(pattern):
            found.setdefault(each.path.resolve(), each)
    return _distinct(list(found.values()))


def _matches(pattern: str) -> list[Found]:
    path = Path(pattern)
    if path.is_dir():
        below = _below(path)
        if not below:
            raise PathError(f"there is no audio in {pattern}", hint=_known())
        return below
    if path.exists():  # before it is taken for a glob: "song [master].wav"
        return [Found(path=path, name=_name(PurePath(path.name)))]
    hits = [Path(hit) for hit in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207
    files = [hit for hit in hits if hit.is_file() and hit.suffix.lower() in ENDINGS | VIDEOS]
    if not files:
        wild = glob.has_magic(pattern)
        raise PathError(
            f"no audio file matches {pattern}" if wild else f"there is no file {pattern}",
            hint=_known() if hits else "",
        )
    return [Found(path=hit, name=_name(PurePath(hit.name))) for hit in files]


def _below(root: Path) -> list[Found]:
    found = []
    for folder, folders, names in os.walk(root):
        if REPORT in names:
            folders.clear()
            continue
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        paths = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
        found += [
            Found(path=path, name=_name(path.relative_to(root)))
            for path in paths
            if _is_audio(path)
        ]
    return found


def _is_audio(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS


def _name(path: PurePath) -> PurePath:
    """Return the path without its ending, with a last part that any system takes for a folder."""
    return path.with_name(path.stem.rstrip(" .") or "track")


def _key(name: PurePath) -> str:
    """Return what two names share that some file system takes for one."""
    return unicodedata.normalize("NFC", str(name)).casefold()


def _distinct(found: list[Found]) -> list[Found]:
    """Give files of one name different ones: a wav keeps its own, others add their ending.

    So `song.wav` stays `song` when a `song.mp3` comes to lie beside it.
    """
    order = sorted(range(len(found)), key=lambda i: found[i].path.suffix.lower() != ".wav")
    names: dict[int, PurePath] = {}
    used: set[str] = set()
    for i in order:
        name = plain = found[i].name
        ending = found[i].path.suffix.lower()
        if _key(name) in used and ending != ".wav":
            name = plain = name.with_name(f"{name.name}_{ending.lstrip('.')}")
        number = 2
        while _key(name) in used:
            name, number = plain.with_name(f"{plain.name}-{number}"), number + 1
        used.add(_key(name))
        names[i] = name
    return [replace(each, name=names[i]) for i, each in enumerate(found)]


def check_outputs(
    folders: list[Path], mixes: list[Path], *, overwrite: bool, resume: bool = False
) -> None:
    """Raise PathError where stems are there already, or where no folder can be made.

    No output folder may hold one of the mixes, even with `overwrite`: a stem could replace it.
    """
    outputs = {folder.resolve() for folder in folders}
    for mix in mixes:
        if mix.resolve().parent in outputs:
            raise PathError(
                f"the stems would go into the folder of {mix}", hint="choose another with --out"
            )
    done = [folder for folder in folders if folder.exists() and not _is_empty(folder)]
    if resume:  # the runtime looks whether they are the same
        done = [folder for folder in done if not (folder / REPORT).is_file()]
    if done and not overwrite:
        more = f" and {len(done) - 1} more" if len(done) > 1 else ""
        raise PathError(
            f"{done[0]}{more} exists already",
            hint="--overwrite replaces it" + ("" if resume else ", --resume leaves what is done"),
        )
    for parent in {folder.parent for folder in folders}:
        there = parent
        while not there.exists() and there != there.parent:
            there = there.parent
        try:  # asking for permissions does not tell: root, read-only disks, network shares
            Path(tempfile.mkdtemp(prefix=".sep-", dir=there)).rmdir()
        except OSError as fault:
            raise PathError(
                f"{there} cannot be written: {fault.strerror}", hint="choose another with --out"
            ) from fault


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _known() -> str:
    return f"audio files end with {', '.join(sorted(ENDINGS))}"
