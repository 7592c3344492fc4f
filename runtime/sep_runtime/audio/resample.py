"""Streaming sample rate conversion, and many channels into two."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
import soxr

if TYPE_CHECKING:
    from numpy.typing import NDArray

HALF_POWER = 1 / sqrt(2)


class Resampler:
    """Streaming sample rate conversion by soxr, very high quality; the identity at equal rates."""

    def __init__(self, source: int, target: int, channels: int) -> None:
        self._stream = (
            soxr.ResampleStream(source, target, channels, dtype="float32", quality="VHQ")
            if source != target
            else None
        )

    def push(self, samples: NDArray[np.float32], *, last: bool = False) -> NDArray[np.float32]:
        """[C, n] to [C, m]; `last` gives the rest."""
        if self._stream is None:
            return samples
        out = self._stream.resample_chunk(np.ascontiguousarray(samples.T), last=last)
        return np.ascontiguousarray(out.T)


def downmix(channels: int) -> NDArray[np.float32]:
    """[2, channels]: the matrix that makes stereo of more channels.

    5.1 and 7.1 in WAVE order by ITU-R BS.775: centre and surrounds at half power, no LFE. Of other
    counts the even channels go left and the odd ones right, averaged. Nothing is normalised.
    """
    matrix = np.zeros((2, channels), np.float32)
    if channels in (6, 8):
        matrix[0, 0] = matrix[1, 1] = 1
        matrix[:, 2] = HALF_POWER
        matrix[0, 4::2] = matrix[1, 5::2] = HALF_POWER
        return matrix
    for side in range(2):
        own = range(side, channels, 2)
        matrix[side, own] = 1 / len(own)
    return matrix
