"""Names that come from files and models, made into names that any system takes. Pure."""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
from pathlib import PurePath

from sep_models.stems import DEVICES, NO_FILE_NAME

# What exFAT, NTFS, SMB or a POSIX system has no room for in a name.
NEVER = re.compile(rf"[{re.escape(NO_FILE_NAME)}\x00-\x1f\x7f-\x9f]")
# Devices of Windows, whatever follows a dot.
DEVICE = re.compile(rf"((?:{'|'.join(map(re.escape, DEVICES))}) *)(\..*)?", re.IGNORECASE)
HIDDEN = ".sep-"  # how the runtime's work folders begin
NOTES = ".sep-run"  # beside the output: what runs of many tracks say of themselves
WORK = re.compile(r"\.sep-[0-9a-f]{8}-[0-9]{1,9}")
MOST = 255  # bytes that file systems take


def is_work(name: str) -> bool:
    """Say whether a folder is one that a runtime works in."""
    return WORK.fullmatch(name) is not None


def portable(name: str) -> str:
    """Return the name in a form that every file system takes; bytes that are no text stay."""
    clean = NEVER.sub("_", name).rstrip(" .")
    if clean.startswith(HIDDEN):
        clean = f"_{clean[1:]}"
    if device := DEVICE.fullmatch(clean):
        clean = f"{device[1]}_{device[2] or ''}"
    return clean


def track(path: PurePath) -> PurePath:
    """Return the name of a track: its file's without the ending, below portable folders."""
    return PurePath(*map(folder, path.parent.parts), portable(path.stem) or "track")


def folder(name: str) -> str:
    """Return the name of a folder in the form that every file system takes."""
    return fitted(portable(name) or "_", MOST)


def key(name: PurePath) -> str:
    """Return what two names share that some file system takes for one."""
    return unicodedata.normalize("NFC", str(name)).casefold()


def fitted(name: str, most: int) -> str:
    """Return the name, cut in the middle where it has more bytes than `most`."""
    encoded = raw(name)
    if len(encoded) <= most:
        return name
    mark = f"~{hashlib.sha256(encoded).hexdigest()[:8]}~"
    half = (most - len(mark)) // 2
    return _first(name, half) + mark + _first(name[::-1], half)[::-1]


def raw(name: str) -> bytes:
    """Return the name's bytes, also of one that is no text."""
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogatepass")  # of Windows


def _first(name: str, most: int) -> str:
    """Return as many characters from the start as fit."""
    sizes = itertools.accumulate(len(raw(char)) for char in name)
    return name[: sum(size <= most for size in sizes)]
