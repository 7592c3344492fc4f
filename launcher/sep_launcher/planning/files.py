"""The files that the user named: what is there, and what may be written."""

from __future__ import annotations

import contextlib
import glob
import os
import stat
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from sep_launcher.machine import disk
from sep_launcher.planning import names
from sep_protocol import REPORT
from sep_protocol.errors import PathError, UsageError

# What a folder or glob is searched for. A file that is named itself is always tried.
ENDINGS = frozenset(
    {".wav", ".wave", ".w64", ".flac", ".aif", ".aiff", ".aifc", ".caf", ".au"}
    | {".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".wma", ".mka", ".mp2", ".ac3", ".eac3"}
    | {".dts", ".wv", ".tta", ".ape", ".dsf", ".spx"}
)
# A glob may also name these; a folder of films is not searched for music.
VIDEOS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"})
PASSED = "; it is passed over"
STREAM = "sep goes through a song more than once: write it to a file first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file to separate and the name that its stems go under."""

    path: Path
    name: PurePath  # relative; below a named folder it keeps that folder's structure


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What was found, and what was passed over."""

    files: tuple[Found, ...]
    warnings: tuple[str, ...]


def find(patterns: tuple[str, ...]) -> Search:
    """Return the audio files that paths, folders and globs name, each once, in their order.

    Raises UsageError for none at all, PathError for a pattern without a file that can be read.
    """
    if not patterns:
        raise UsageError("no file was named", hint="sep run song.wav")
    look = _Look()
    for pattern in patterns:
        look.at(pattern)
    return Search(files=tuple(_distinct(list(look.found.values()))), warnings=tuple(look.warnings))


@dataclass(slots=True)
class _Look:
    """A search under way."""

    found: dict[str, Found] = field(default_factory=dict)  # by its path without links
    warnings: list[str] = field(default_factory=list)

    def at(self, pattern: str) -> None:
        """Take what a pattern names."""
        if not pattern:
            raise UsageError("an empty name names no file", hint="sep run song.wav")
        path = Path(pattern)
        try:
            mode = path.stat().st_mode
        except OSError as fault:
            self._glob(pattern, fault)
            return
        # It is there, so it is no glob: "song [master].wav".
        if stat.S_ISDIR(mode):
            self._folder(path)
        elif why := _unfit(path):
            raise PathError(why, hint=STREAM)
        else:
            self._take(path, PurePath(path.name))

    def _take(self, path: Path, name: PurePath) -> None:
        self.found.setdefault(os.path.realpath(path), Found(path=path, name=names.track(name)))

    def _folder(self, root: Path) -> None:
        warned, stack, any_here, films = len(self.warnings), [root], False, 0
        while stack:
            folder = stack.pop()
            try:
                entries = sorted(os.scandir(folder), key=lambda each: each.name)
            except OSError as fault:
                if folder == root:
                    raise PathError(_unreadable(root, fault)) from fault
                self.warnings.append(f"{_unreadable(folder, fault)}{PASSED}")
                continue
            if any(each.name == REPORT and not _is_folder(each) for each in entries):
                continue
            seen = [each for each in entries if not each.name.startswith(".")]
            stack += [Path(each) for each in reversed(seen) if _is_folder(each)]
            files = [Path(each) for each in seen if not _is_folder(each)]
            films += sum(path.suffix.lower() in VIDEOS for path in files)
            for path in self._fit(files, ENDINGS):
                self._take(path, path.relative_to(root))
                any_here = True
        if films:
            self.warnings.append(f"videos in {root} are not looked for: name the {films} there")
        if not any_here:
            self._nothing(f"there is no audio in {root}", warned, _known())

    def _glob(self, pattern: str, fault: OSError) -> None:
        """Take what a glob names; `fault` is what came of looking for a file of this name."""
        if not glob.has_magic(pattern):
            raise PathError(_missing(pattern, fault), hint=STREAM if pattern == "-" else "")
        warned = len(self.warnings)
        hits = [Path(hit) for hit in sorted(_globbed(pattern))]
        files = self._fit(hits, ENDINGS | VIDEOS)
        self.warnings += _shut(pattern)
        for hit in files:
            self._take(hit, PurePath(hit.name))
        if not files:
            hint = _known() if hits else ""
            self._nothing(f"no audio file matches {pattern}", warned, hint)

    def _fit(self, paths: list[Path], endings: frozenset[str]) -> list[Path]:
        """Return the files that may be separated; warn of what only has such a name."""
        fit = []
        for path in paths:
            if path.suffix.lower() not in endings or disk.is_dir(path):
                continue
            if why := _unfit(path):
                self.warnings.append(why + PASSED)
            else:
                fit.append(path)
        return fit

    def _nothing(self, message: str, warned: int, hint: str) -> None:
        """Raise PathError, with the first reason if there are reasons."""
        why = [each.removesuffix(PASSED) for each in self.warnings[warned:]]
        raise PathError(f"{message}: {why[0]}" if why else message, hint=hint)


def _globbed(pattern: str) -> list[str]:
    """Return what a glob names. `**` follows no links and goes as deep as folders do."""
    parts = Path(pattern).parts
    if parts.count("**") != 1:
        return glob.glob(pattern, recursive="**" not in parts)  # noqa: PTH207
    at = parts.index("**")
    above, tail = str(Path(*parts[:at])), parts[at + 1 :]
    stack = glob.glob(above) if glob.has_magic(above) else [above]  # noqa: PTH207
    found = []
    while stack:
        folder = stack.pop()
        found += glob.glob(str(Path(glob.escape(folder), *tail or ("*",))))  # noqa: PTH207
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            stack += [e.path for e in entries if _is_folder(e) and not e.name.startswith(".")]
    return list(dict.fromkeys(found))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _unfit(path: Path) -> str:
    """Return why there is no separating a file, nothing where it may be tried. Opens nothing."""
    try:
        mode = path.stat().st_mode
    except OSError as fault:
        return _missing(str(path), fault)
    if stat.S_ISREG(mode):
        return ""
    kinds = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
    return f"{path} is a {kinds.get(stat.S_IFMT(mode), 'device')}, not a file"


def _missing(pattern: str, fault: OSError) -> str:
    if pattern == "-":
        return "standard input is not read"
    if not isinstance(fault, FileNotFoundError | NotADirectoryError):
        return _unreadable(pattern, fault)
    link = os.path.islink(pattern)  # noqa: PTH114 (Path's raises)
    return f"{pattern} is a link to nothing" if link else f"there is no file {pattern}"


def _unreadable(path: Path | str, fault: OSError) -> str:
    return f"{path} cannot be read: {fault.strerror}"


def _shut(pattern: str) -> list[str]:
    """Return a warning for every folder that a glob would have looked into and could not."""
    parts = Path(pattern).parts
    depths = [depth for depth, part in enumerate(parts) if glob.has_magic(part)]
    depths += [len(parts)] if parts[-1] == "**" else []
    told = []
    for depth in depths:
        above = str(Path(*parts[:depth]))
        folders = _globbed(above) if glob.has_magic(above) else [above]
        for folder in filter(disk.is_dir, folders):
            try:
                os.scandir(folder).close()
            except OSError as fault:
                told.append(f"{_unreadable(folder, fault)}{PASSED}")
    return list(dict.fromkeys(told))


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


def check_outputs(
    folders: list[Path], mixes: list[Path], *, overwrite: bool, resume: bool = False
) -> None:
    """Raise PathError where stems are there already, or where no folder can be made.

    No output folder may hold one of the mixes, even with `overwrite`: a stem could replace it.
    """
    for folder in folders:
        if os.path.islink(folder):  # noqa: PTH114 (Path's raises)
            raise PathError(
                f"{folder} is a link: a track's folder is replaced as a whole",
                hint="remove the link, or choose another folder with --out",
            )
        if disk.exists(folder) and not disk.is_dir(folder):
            raise PathError(
                f"{folder} is no folder", hint="move it away, or choose another with --out"
            )
    outputs = {os.path.realpath(folder) for folder in folders}
    for mix in mixes:
        if os.path.dirname(os.path.realpath(mix)) in outputs:  # noqa: PTH120 (a text)
            raise PathError(
                f"the stems would go into the folder of {mix}", hint="choose another with --out"
            )
    done = [folder for folder in folders if disk.exists(folder) and not _is_empty(folder)]
    if resume:  # the runtime looks whether they are the same
        done = [folder for folder in done if not disk.is_file(folder / REPORT)]
    if done and not overwrite:
        more = f" and {len(done) - 1} more" if len(done) > 1 else ""
        raise PathError(
            f"{done[0]}{more} {'exist' if more else 'exists'} already",
            hint="--overwrite replaces it" + ("" if resume else ", --resume leaves what is done"),
        )
    for parent in {folder.parent for folder in folders}:
        _check_writable(parent)


def _check_writable(folder: Path) -> None:
    there = folder
    while not disk.exists(there) and there != there.parent:
        if os.path.islink(there):  # noqa: PTH114 (Path's raises)
            raise PathError(f"{there} is a link to nothing", hint="choose another with --out")
        there = there.parent
    try:  # asking for permissions does not tell: root, read-only disks, network shares
        Path(tempfile.mkdtemp(prefix=".sep-", dir=there)).rmdir()
    except OSError as fault:
        raise PathError(
            f"{there} cannot be written: {fault.strerror}", hint="choose another with --out"
        ) from fault


def _is_empty(folder: Path) -> bool:
    """Say whether a folder has nothing in it; raise PathError where that cannot be seen."""
    try:
        return not any(folder.iterdir())
    except OSError as fault:
        raise PathError(_unreadable(folder, fault), hint="choose another with --out") from fault


def _known() -> str:
    return f"audio files end with {', '.join(sorted(ENDINGS))}"
