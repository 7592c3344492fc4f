"""Models that take turns where memory does not hold them together."""

from __future__ import annotations

from typing import Protocol

TURN_SECONDS = 60  # of audio that a model gets at once where it has to make room for another


class Turns(Protocol):
    """Whether models are in memory together, or one at a time."""

    alternate: bool
