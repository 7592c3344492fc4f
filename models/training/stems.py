"""What everything in training agrees on: rate, stems, roles and the notes of the grooves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Audio = NDArray[np.float32]
Pcm = NDArray[np.int16]

RATE = 44100
STEMS = ("kick", "snare", "toms", "hihat", "cymbals")

# A role is what a note asks of a kit; each belongs to one stem.
ROLES = {
    "kick": "kick",
    "snare": "snare",
    "rim": "snare",
    "side": "snare",
    "tom1": "toms",
    "tom2": "toms",
    "tom3": "toms",
    "closed": "hihat",
    "pedal": "hihat",
    "open": "hihat",
    "crash": "cymbals",
    "ride": "cymbals",
    "bell": "cymbals",
}

# The Roland TD-11's notes in the Groove MIDI Dataset.
ROLE_OF_NOTE = {
    36: "kick",
    38: "snare",
    40: "rim",
    37: "side",
    48: "tom1",
    50: "tom1",
    45: "tom2",
    47: "tom2",
    43: "tom3",
    58: "tom3",
    42: "closed",
    22: "closed",
    44: "pedal",
    46: "open",
    26: "open",
    49: "crash",
    55: "crash",
    57: "crash",
    52: "crash",
    51: "ride",
    59: "ride",
    53: "bell",
}


def stem_index(role: str) -> int:
    """Return the index in `STEMS` of the stem a role belongs to."""
    return STEMS.index(ROLES[role])


def decibels(gain_db: float) -> float:
    """Return the amplitude ratio of a level in dB."""
    return float(10 ** (gain_db / 20))
