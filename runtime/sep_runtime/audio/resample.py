"""Streaming sample rate conversion, and many channels into two."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
import soxr

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from numpy.typing import NDArray

HALF_POWER = 1 / sqrt(2)
FRONT = ("FL", "FR", "FLC", "FRC", "DL", "DR")


class Resampler:
    """Streaming sample rate conversion by soxr, very high quality; the identity at equal rates."""

    def __init__(self, source: int, target: int, channels: int) -> None:
        # One per channel: soxr converts channels one after another, with the same result.
        self._streams = [
            soxr.ResampleStream(source, target, 1, dtype="float32", quality="VHQ")
            for _ in range(channels if source != target else 0)
        ]

    def push(
        self, samples: NDArray[np.float32], *, last: bool = False, pool: Executor | None = None
    ) -> NDArray[np.float32]:
        """[C, n] to [C, m]; `last` gives the rest. With a pool, channels go beside each other."""
        if not self._streams:
            return samples

        def convert(at: int) -> NDArray[np.float32]:
            row = np.ascontiguousarray(samples[at])
            found: NDArray[np.float32] = self._streams[at].resample_chunk(row, last=last)
            return found

        every = range(len(self._streams))
        return np.stack(list(pool.map(convert, every) if pool else map(convert, every)))


def downmix(channels: int, layout: Sequence[str] = ()) -> NDArray[np.float32]:
    """[2, channels]: the matrix that makes stereo of more channels.

    By their names, as ITU-R BS.775 has it: front channels as they are, centre and surrounds at half
    power, what is behind or above the middle at a quarter to each side, no LFE. Channels without
    names may be anything, so none is left out: the even ones go left and the odd ones right,
    averaged. Nothing is normalised.
    """
    matrix = np.zeros((2, channels), np.float32)
    for at, name in enumerate(layout):
        matrix[:, at] = _sides(name)
    for side in () if layout else range(2):
        own = range(side, channels, 2)
        matrix[side, own] = 1 / len(own)
    return matrix


def _sides(name: str) -> tuple[float, float]:
    """Return the gains to left and right of a channel by FFmpeg's name for it."""
    if name.startswith("LFE"):
        return 0, 0
    if name == "FC":
        return HALF_POWER, HALF_POWER
    gain = 1 if name in FRONT else HALF_POWER
    sides = {"L": (gain, 0.0), "R": (0.0, gain)}
    return sides.get(name.removesuffix("C")[-1:], (0.5, 0.5))
