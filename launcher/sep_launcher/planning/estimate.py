"""How much a run of many tracks is, before it begins: hours of audio, and the space of its stems.

A run is refused for what its stems need at least, and warned of for what they may need.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sep_protocol.errors import PathError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sep_launcher.machine.lengths import Length
    from sep_protocol import Output

BYTES = {"16": 2, "24": 3, "float": 4, None: 3}
# Bytes a second of what is encoded: in the mean, and at least.
LOSSY = {"mp3": (40_000, 40_000), "ogg": (28_000, 500)}
# Of wav: what flac makes of music in the mean, and of stems that are nearly silent.
FLAC, LEAST_FLAC = 0.55, 0.02
CERTAIN = 0.95  # of a wav file's bytes are samples: the others are covers and cue points


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What is to come."""

    least: int  # bytes that stems need
    likely: int


def estimate(lengths: Sequence[Length], stems: int, output: Output) -> Estimate:
    """Return the estimate for mixes of these lengths, each split into so many stems."""
    likely = least = 0.0
    for each in lengths:
        sure = CERTAIN * each.told
        if output.format in LOSSY:
            usual, fewest = LOSSY[output.format]
            likely += each.seconds * stems * usual
            least += each.seconds * stems * fewest * sure
            continue
        wav = each.seconds * each.rate * min(2, each.channels) * BYTES[output.bit_depth] * stems
        likely += wav * (FLAC if output.format == "flac" else 1.0)
        least += wav * sure * (LEAST_FLAC if output.format == "flac" else 1.0)
    return Estimate(least=int(least), likely=int(likely))


def check(found: Estimate, free: int, where: str, output: Output) -> str:
    """Return a warning where the stems may not find room; raise PathError where they cannot."""
    if found.least > free and not output.overwrite:  # then old stems make room by and by
        smaller = "--format flac needs about half, " if output.format == "wav" else ""
        raise PathError(
            f"the stems need {size(found.least)} at least, and {where} has {size(free)} free",
            hint=f"{smaller}--stems fewer; --out names another disk",
        )
    if found.likely > free:
        return f"the stems may need {size(found.likely)}, and {where} has {size(free)} free"
    return ""


def size(count: float) -> str:
    """Return bytes in words."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004 (of the next unit)
            return f"{count:.0f} {unit}" if unit != "GB" else f"{count:.1f} GB"
        count /= 1000
    return f"{count:.1f} TB"
