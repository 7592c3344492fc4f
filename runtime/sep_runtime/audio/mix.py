"""What an open audio file is, whoever reads it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sep_protocol.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

BLOCK = 1 << 16  # frames read at once
RATES = range(4000, 768_001)  # Hz; a header that says otherwise is not believed


class Mix(Protocol):
    """An open audio file."""

    path: Path
    sample_rate: int  # Hz
    channels: int
    layout: tuple[str, ...]  # FFmpeg's names of the channels (FL, FR, FC, LFE ...); (): not known
    frames: int  # as the header says; 0: not known
    is_counted: bool  # whether `frames` is exact, not an estimate
    is_float: bool
    notes: list[str]  # what people should know of it; grows while it is read

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield [C, n] from the start to the end, once; raise AudioError for what is damaged."""

    def close(self) -> None:
        """Close the file."""


def checked(blocks: Iterator[NDArray[np.float32]], path: Path) -> Iterator[NDArray[np.float32]]:
    """Pass blocks on; raise AudioError for none at all and for samples that are no numbers."""
    count = 0
    for block in blocks:
        if not np.isfinite(block).all():
            raise AudioError(f"{path.name} holds samples that are no numbers")
        count += block.shape[1]
        yield block
    if not count:
        raise AudioError(f"{path.name} holds no audio")


def for_libsndfile(path: Path) -> str | bytes:
    """Return a path as soundfile takes it: a name that is no UTF-8 only as bytes."""
    return str(path) if os.name == "nt" else os.fsencode(path)


def reason(fault: BaseException) -> str:
    """Return a library's own words, without their decoration."""
    text = getattr(fault, "error_string", "") or getattr(fault, "strerror", "") or str(fault)
    return str(text).partition("\n")[0].rstrip(".").lower()
