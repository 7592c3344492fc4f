"""The shapes of stems in the making, for who draws them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import numpy as np

from sep_protocol import Peaks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from sep_protocol import Event

TELL_PAIRS = 100  # in one event at least: a second's, as pages ask for them


class Shapes:
    """Tells the least and greatest sample of every stretch of each stem, `per_second` of them.

    `rows` are the stems by name, and their rows in the blocks [S, C, n]. Stretch k begins at frame
    floor(k * sample_rate / per_second), so that no error adds up.
    """

    def __init__(
        self,
        emit: Callable[[Event], None],
        track: int,
        rows: Mapping[str, int],
        *,
        sample_rate: int,
        per_second: int,
    ) -> None:
        self._emit = emit
        self._track = track
        self._rows = rows
        self._rate = sample_rate
        self._per_second = per_second
        self._left: NDArray[np.float32] | None = None  # [S, C, n] of a stretch that goes on
        self._first = self._next = 0  # pairs that were told, and that were made
        self._made: dict[str, list[NDArray[np.int8]]] = {stem: [] for stem in rows}

    def take(self, block: NDArray[np.float32]) -> None:
        """Take the next frames [S, C, n]."""
        if self._left is not None and self._left.shape[-1]:
            block = np.concatenate([self._left, block], axis=-1)
        begin = self._begin(self._next)
        count = (begin + block.shape[-1]) * self._per_second // self._rate - self._next
        ends = [self._begin(self._next + k) - begin for k in range(max(0, count) + 1)]
        if count > 0:
            self._make(block[..., : ends[-1]], ends[:-1])
        self._left = block[..., ends[-1] :].copy()
        if self._next - self._first >= TELL_PAIRS:
            self._tell()

    def end(self) -> None:
        """Tell what is left, the last stretch as short as it is."""
        if self._left is not None and self._left.shape[-1]:
            self._make(self._left, [0])
            self._left = None
        self._tell()

    def _begin(self, pair: int) -> int:
        return pair * self._rate // self._per_second

    def _make(self, block: NDArray[np.float32], starts: list[int]) -> None:
        for stem, row in self._rows.items():
            both = block[row]
            least = np.minimum.reduceat(both.min(axis=0), starts)
            greatest = np.maximum.reduceat(both.max(axis=0), starts)
            pairs = np.stack([np.floor(least * 127), np.ceil(greatest * 127)], axis=-1)
            self._made[stem].append(np.clip(pairs, -127, 127).astype(np.int8))
        self._next += len(starts)

    def _tell(self) -> None:
        if self._next == self._first:
            return
        for stem, made in self._made.items():
            pairs = base64.b64encode(np.concatenate(made).tobytes()).decode()
            self._emit(Peaks(track=self._track, stem=stem, first=self._first, pairs=pairs))
            made.clear()
        self._first = self._next
