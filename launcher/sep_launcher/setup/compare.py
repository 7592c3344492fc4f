"""How close two results are: stems in float WAV files, by the standard library alone."""

from __future__ import annotations

import math
import struct
import sys
from array import array
from operator import mul
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SILENT = 1e-6  # mean square: a stem at -60 dBFS is not compared
MOST = 200.0  # dB; equal to the bit


def worst(reference: Path, other: Path) -> float:
    """Return the signal-to-noise ratio in dB of the worst stem that plays.

    Both folders hold the same stems as float WAV files. Raises OSError, ValueError.
    """
    found = []
    for path in sorted(reference.glob("*.wav")):
        true, given = samples(path), samples(other / path.name)
        if len(true) != len(given):
            raise ValueError(f"{path.name} has another length")
        power = math.fsum(map(mul, true, true))
        if power >= SILENT * len(true):
            found.append(ratio(true, given, power))
    if not found:
        raise ValueError("there is nothing to compare")
    return min(found)


def ratio(true: array[float], given: array[float], power: float) -> float:
    """Return power over the power of the difference in dB; NaN in `given` counts as all wrong."""
    noise = math.fsum((a - b) ** 2 for a, b in zip(true, given, strict=True))
    if math.isnan(noise):
        return -MOST
    return min(MOST, 10 * math.log10(power / noise)) if noise else MOST


def samples(path: Path) -> array[float]:
    """Return the samples of a float WAV file, channels interleaved; raises OSError, ValueError."""
    data = path.read_bytes()
    place = 12
    while place + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, place)
        if name == b"data":
            found = array("f")
            found.frombytes(data[place + 8 : place + 8 + size // 4 * 4])
            if sys.byteorder == "big":
                found.byteswap()
            return found
        place += 8 + size + size % 2
    raise ValueError(f"{path.name} is no WAV file")
