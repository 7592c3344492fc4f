"""The keys and shapes of one network's weights, as what is asked of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sep_runtime.models.words import shown

if TYPE_CHECKING:
    from collections.abc import Mapping


class MissingError(ValueError):
    """A key that the network must have is missing, or has a shape that it cannot have.

    Its text is a clause of a sentence.
    """

    def __init__(self, key: str) -> None:
        super().__init__(f"{shown(key)} is missing in it, or has a shape that it cannot have")


class Keys:
    """Keys and shapes, without what a tool wrote before the keys."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = shapes

    def __contains__(self, key: str) -> bool:
        return key in self.shapes

    def size(self, key: str, axis: int = 0) -> int:
        """Return a length, at least 1; raise MissingError."""
        shape = self.shapes.get(key, ())
        if axis >= len(shape) or shape[axis] < 1:
            raise MissingError(key)
        return shape[axis]

    def axes(self, key: str) -> int:
        """Return how many dimensions there are, 0 where there is no such key."""
        return len(self.shapes.get(key, ()))

    def count(self, before: str) -> int:
        """Return how many numbers follow in keys that begin so, at least 1; raise MissingError."""
        size = len(before)
        parts = {key[size:].partition(".")[0] for key in self.shapes if key.startswith(before)}
        numbers = sum(part.isdecimal() for part in parts)
        if not numbers:
            raise MissingError(before.rstrip("."))
        return numbers

    def has(self, pattern: str) -> bool:
        """Say whether a key has this regular expression in it."""
        wanted = re.compile(pattern)
        return any(wanted.search(key) for key in self.shapes)
