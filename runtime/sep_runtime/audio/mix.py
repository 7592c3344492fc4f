"""What an open audio file is, whoever reads it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sep_protocol.errors import AudioError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

BLOCK = 1 << 16  # frames read at once
DIMENSIONS = STEREO = 2
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
    """Pass blocks on; raise AudioError for none at all and for samples that are not numbers."""
    count = 0
    for block in blocks:
        if not np.isfinite(block).all():
            raise AudioError(f"{path.name} holds samples that are not numbers")
        count += block.shape[1]
        yield block
    if not count:
        raise AudioError(f"{path.name} holds no audio")


def samples_of(array: NDArray[np.floating], channels: int = 0) -> NDArray[np.float32]:
    """Return a program's array as float32 [C, T] that torch can take; C is `channels` unless 0.

    Raises TypeError for what holds no numbers, UsageError for integers, whose full scale is not
    known, and for what is of another shape.
    """
    found = np.atleast_2d(np.asarray(array))
    if found.dtype.kind not in "fiubc":
        raise TypeError(f"samples must be an array of floats, not {type(array).__name__}")
    if found.dtype.kind != "f":
        raise UsageError(
            f"samples of {found.dtype} have no full scale: give floats",
            hint="those of 16 bit, for example, are x / 32768",
        )
    form = f"[{channels or 'channels'}, samples]"
    if found.ndim != DIMENSIONS or not found.shape[0]:
        raise UsageError(f"samples must be {form}, not of the shape {found.shape}")
    rows, columns = found.shape
    if (rows != channels == columns) if channels else rows > max(STEREO, columns):
        raise UsageError(
            f"samples of the shape {found.shape} look transposed: they must be {form}",
            hint="pass x.T",
        )
    if channels not in (0, rows):
        raise UsageError(f"samples must be {form}, not of the shape {found.shape}")
    with np.errstate(over="ignore"):  # what is infinite is refused
        return np.require(found, np.float32, ("C", "W"))


def for_libsndfile(path: Path) -> str | bytes:
    """Return a path as soundfile takes it: a name that is no UTF-8 only as bytes."""
    return str(path) if os.name == "nt" else os.fsencode(path)


def reason(fault: BaseException) -> str:
    """Return a library's own words, without their decoration."""
    text = getattr(fault, "error_string", "") or getattr(fault, "strerror", "") or str(fault)
    return str(text).partition("\n")[0].rstrip(".").lower()
