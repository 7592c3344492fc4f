"""The files that the user named: what is there."""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import os
import re
import stat
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from sep_launcher.machine import disk, storage
from sep_launcher.planning import outputs, stored
from sep_launcher.planning.naming import Found, Hit, Root, named
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
STEMS = "stems that sep made are passed over; one that is named itself is split again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What was found, and what was passed over."""

    files: tuple[Found, ...]
    warnings: tuple[str, ...]


def find(patterns: tuple[str, ...], include: tuple[str, ...] = ()) -> Search:
    """Return the audio files that paths, folders and globs name, each once, in their order.

    In folders only files whose name, or path below the folder, matches one of `include`. What sep
    made is passed over in folders and globs. Raises UsageError for no pattern at all, or for
    `include` without a folder, PathError for a pattern without a file that can be read.
    """
    if not patterns:
        raise UsageError("no file was given", hint="sep run drums.wav")
    look = _Look(include=tuple(map(_glob_of, include)))
    for number, pattern in enumerate(patterns):
        try:
            look.at(pattern)
        except PathError as fault:
            raise _parted(patterns, number) or fault from fault
    if include and not look.folders:
        raise UsageError("--include is for folders, and none was named", hint="leave out --include")
    files = named(list(look.found.values()), list(look.roots.values()))
    return Search(files=files, warnings=tuple(look.warnings))


def _parted(patterns: tuple[str, ...], number: int) -> PathError | None:
    """Return the error for a name that the shell has parted at its spaces, if that is so."""
    pattern = patterns[number]
    for end in range(number + 2, len(patterns) + 1):
        whole = " ".join(patterns[number:end])
        if disk.exists(Path(whole)):
            hint = f"a name with spaces needs quotes: {whole!r}"
            return PathError(f"there is no file {pattern}", hint=hint)
    return None


@dataclass(slots=True, kw_only=True)
class _Look:
    """A search under way."""

    include: tuple[re.Pattern[str], ...] = ()
    found: dict[str, Hit] = field(default_factory=dict)  # by its path without links
    roots: dict[Path, Root] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    folders: int = 0  # that were named

    def at(self, pattern: str) -> None:
        """Take what a pattern names."""
        if not pattern:
            raise UsageError("an empty name names no file", hint="sep run drums.wav")
        if storage.is_url(pattern):
            self._stored(pattern)
            return
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
            self._take(path, self._root(path.parent))

    def _root(self, folder: Path, *, own: bool = False) -> Root:
        """Return the folder as a root; `own`: it was named. Then it has a name, unless . or .. ."""
        root = self.roots.setdefault(disk.absolute(folder), Root(path=disk.absolute(folder)))
        root.own |= own and folder.name not in ("", "..")
        return root

    def _take(self, path: Path, root: Root) -> None:
        whole = disk.absolute(path)
        below = PurePath(path.name)
        if whole.is_relative_to(root.path):
            below = whole.relative_to(root.path)
        self.found.setdefault(os.path.realpath(path), Hit(path=path, root=root, below=below))

    def _folder(self, root: Path) -> None:
        self.folders += 1
        here = self._root(root, own=True)
        warned, stack, films = len(self.warnings), [root], 0
        taken, other = 0, []
        while stack:
            folder = stack.pop()
            try:
                entries = sorted(os.scandir(folder), key=lambda each: each.name)
            except OSError as fault:
                if folder == root:
                    raise PathError(_unreadable(root, fault)) from fault
                self.warnings.append(f"{_unreadable(folder, fault)}{PASSED}")
                continue
            made = outputs.made(folder, [e.name for e in entries if not _is_folder(e)])
            if REPORT in made:
                continue
            seen = [e for e in entries if not e.name.startswith(".") and e.name not in made]
            stack += [Path(each) for each in reversed(seen) if _is_folder(each)]
            files = [Path(each) for each in seen if not _is_folder(each)]
            if self.include:
                other += [path for path in files if path.suffix.lower() in ENDINGS]
                files = [path for path in files if self._included(path.relative_to(root))]
            else:
                films += sum(path.suffix.lower() in VIDEOS for path in files)
            for path in self._fit(files, ENDINGS | VIDEOS if self.include else ENDINGS):
                self._take(path, here)
                taken += 1
        if films:
            self.warnings.append(f"videos in {root} were left out: name the {films} there")
        if not taken and other:
            more = f" and {len(other) - 1} more" if other[1:] else ""
            hint = f"what is there: {other[0].relative_to(root)}{more}"
            self._nothing(f"--include matches no audio in {root}", warned, hint)
        if not taken:
            self._nothing(f"there is no audio in {root}", warned, _known())

    def _stored(self, url: str) -> None:
        """Take what an address in a store names: an object, a folder or a glob."""
        seen = stored.look(url)
        here = self._root(stored.place(seen.folder), own=seen.kind != "object")
        self.folders += seen.kind == "folder"
        narrowed = self.include if seen.kind == "folder" else ()
        endings = ENDINGS | VIDEOS if narrowed or seen.kind == "glob" else ENDINGS
        audio = [each for each in seen.found if each.below.suffix.lower() in ENDINGS | VIDEOS]
        if seen.kind == "object":
            taken = list(seen.found)
        else:
            taken = [each for each in audio if each.below.suffix.lower() in endings]
            taken = [each for each in taken if not narrowed or self._included(each.below)]
        for each in taken:
            path = stored.place(each.entry.url)
            hit = Hit(path=path, root=here, below=each.below, entry=each.entry)
            self.found.setdefault(each.entry.url, hit)
        if films := 0 if narrowed else len(audio) - len(taken):
            self.warnings.append(f"videos in {url} were left out: name the {films} there")
        if not taken and narrowed:
            hint = f"what is there: {audio[0].below}" if audio else ""
            raise PathError(f"--include matches no audio in {url}", hint=hint)
        if not taken:
            raise PathError(f"there is no audio at {url}", hint=STEMS if seen.made else _known())

    def _included(self, below: PurePath) -> bool:
        """Say whether a file is wanted, by its path below a named folder."""
        return any(
            each.fullmatch(_plain(below.as_posix() if "/" in each.pattern else below.name))
            for each in self.include
        )

    def _glob(self, pattern: str, fault: OSError) -> None:
        """Take what a glob names; `fault` is what came of looking for a file of this name."""
        if not glob.has_magic(pattern):
            raise PathError(_missing(pattern, fault), hint=STREAM if pattern == "-" else "")
        warned = len(self.warnings)
        hits = [Path(hit) for hit in sorted(_globbed(pattern))]
        fresh = _without_made(hits)
        files = self._fit(fresh, ENDINGS | VIDEOS)
        self.warnings += _shut(pattern)
        root = self._root(_fixed(pattern), own=True)
        for hit in files:
            self._take(hit, root)
        if not files:
            hint = _known() if fresh else STEMS if hits else ""
            self._nothing(f"no audio file matches {pattern}", warned, hint)

    def _fit(self, paths: list[Path], endings: frozenset[str]) -> list[Path]:
        """Return the files that may be separated; warn of what only has such a name."""
        fit = []
        for path in paths:
            if path.suffix.lower() not in endings:
                continue
            mode = disk.mode(path)
            if stat.S_ISREG(mode):
                fit.append(path)
            elif not stat.S_ISDIR(mode):
                self.warnings.append(_unfit(path) + PASSED)
        return fit

    def _nothing(self, message: str, warned: int, hint: str) -> None:
        """Raise PathError, with the first reason if there are reasons."""
        why = [each.removesuffix(PASSED) for each in self.warnings[warned:]]
        raise PathError(f"{message}: {why[0]}" if why else message, hint=hint)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _glob_of(pattern: str) -> re.Pattern[str]:
    """Return what a pattern matches; as in tar and find, its * goes over / as well."""
    return re.compile(fnmatch.translate(_plain(pattern.removeprefix("./"))), re.IGNORECASE)


def _fixed(pattern: str) -> Path:
    """Return the folder that a glob begins in."""
    parts = Path(pattern).parts
    return Path(*parts[: next(i for i, part in enumerate(parts) if glob.has_magic(part))])


def _without_made(hits: list[Path]) -> list[Path]:
    """Return the files that sep did not make, by the reports beside them."""
    made: dict[Path, set[str]] = {}
    for folder in {hit.parent for hit in hits}:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            made[folder] = outputs.made(folder, [e.name for e in entries if not _is_folder(e)])
    return [
        hit
        for hit in hits
        if REPORT not in made.get(hit.parent, ()) and hit.name not in made.get(hit.parent, ())
    ]


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


def _known() -> str:
    return f"audio files end with {', '.join(sorted(ENDINGS))}"
