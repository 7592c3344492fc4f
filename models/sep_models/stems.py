"""Names of stems: how they are written, which may become file names, and what no name may have."""

from __future__ import annotations

import unicodedata

RESIDUAL = "residual"  # the file of what is in no stem
REST = "rest"  # what the parts of its drums leave of a song
DRUMS = "drums"  # what is split into them

_ALIASES = {"hh": "hihat", "hi-hat": "hihat", "tom": "toms", "cymbal": "cymbals"}
LONGEST = 60  # bytes; a file's name also has the track's, an ending and a working suffix
NO_FILE_NAME = '<>:"|?*/\\'  # on some system
# What Windows takes for a device, whatever its ending.
DEVICES = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$"}
    | {f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"}
)


def canonical(stem: str) -> str:
    """Return the stem's canonical name."""
    lower = unicodedata.normalize("NFC", stem.strip().lower())
    return _ALIASES.get(lower, lower)


def aliases_of(stem: str) -> list[str]:
    """Return the other names of a stem."""
    return [alias for alias, name in _ALIASES.items() if name == stem]


def check_stems(stems: tuple[str, ...]) -> None:
    """Raise ValueError unless every stem has a name that is a file's on any system, and its own."""
    if not stems:
        raise ValueError("there are no stems")
    used: set[str] = set()
    for stem in stems:
        if why := _fault(stem):
            raise ValueError(f"a stem cannot be called {stem[:LONGEST]!r}: {why}")
        key = unicodedata.normalize("NFC", canonical(stem).casefold())
        if key in used:
            raise ValueError(f"two stems are called {canonical(stem)!r}")
        used.add(key)


def _fault(stem: str) -> str:
    """Return why this is no name for a file, nothing where it is one."""
    odd = next((each for each in stem if each in NO_FILE_NAME or not each.isprintable()), "")
    if odd:  # separators, control and bidi characters, halves of surrogate pairs
        return f"{odd!r} cannot be in a file's name"
    if not 1 <= len(stem.encode()) <= LONGEST:
        return f"a name has 1 to {LONGEST} bytes"
    if stem.strip(" .") != stem:
        return "a name neither begins nor ends with a dot or a space"
    if stem.partition(".")[0].strip().casefold() in DEVICES:
        return "Windows takes that for a device"
    if stem.casefold() == RESIDUAL:
        return "that is the name of what is left over"
    return ""
