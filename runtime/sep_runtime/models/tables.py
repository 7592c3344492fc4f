"""Tables of a stranger's document: what is taken out has the type that was asked for."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from sep_runtime.models.words import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NUMBER = re.compile(r"[-+]?[0-9]{1,9}(\.[0-9]{0,9})?([eE][-+]?[0-9]{1,2})?")


@dataclass(frozen=True, slots=True)
class Table:
    """A table; all methods raise ValueError with the place of what is missing or wrong."""

    name: str  # with a dot at its end; of the outermost nothing
    values: Mapping[Any, object]

    def table(self, key: str, *, optional: bool = False) -> Table:
        """Return a table in it, an empty one where it is optional and missing."""
        found = self.values.get(key)
        if found is None and optional:
            found = {}
        if not isinstance(found, dict):
            raise self._fault(key, "a table")
        return Table(f"{self.name}{key}.", found)

    def whole(self, key: str, default: int | None = None) -> int:
        """Return a whole number."""
        found = self.maybe(key)
        if found is None:
            if default is None:
                raise self._fault(key, "a whole number")
            return default
        return found

    def maybe(self, key: str) -> int | None:
        """Return a whole number, None where there is nothing."""
        found = self.values.get(key)
        if isinstance(found, str) and re.fullmatch(r"[0-9]{1,9}", found):
            return int(found)
        if isinstance(found, float | Fraction) and found == found // 1:
            found = int(found)
        if found is not None and type(found) is not int:
            raise self._fault(key, "a whole number")
        return found

    def number(self, key: str, default: float | None = None) -> float | Fraction:
        """Return a number that is finite; of a text, too, which `1e-3` is in YAML 1.1."""
        found = self.values.get(key)
        if found is None and default is not None:
            return default
        if isinstance(found, str) and _NUMBER.fullmatch(found):
            return float(found)
        if isinstance(found, bool) or not isinstance(found, int | float | Fraction):
            raise self._fault(key, "a number")
        if isinstance(found, float) and not math.isfinite(found):
            raise self._fault(key, "a number")
        return found if isinstance(found, Fraction) else float(found)

    def text(self, key: str) -> str:
        """Return a text, an empty one where there is nothing."""
        found = self.values.get(key)
        if found is not None and not isinstance(found, str):
            raise self._fault(key, "a text")
        return found or ""

    def flag(self, key: str, *, default: bool = False) -> bool:
        """Return true or false."""
        found = self.values.get(key)
        if found is not None and not isinstance(found, bool):
            raise self._fault(key, "true or false")
        return default if found is None else found

    def wholes(self, key: str) -> tuple[int, ...]:
        """Return a list of whole numbers."""
        found = self._list(key)
        if any(type(each) is not int for each in found):
            raise self._fault(key, "a list of whole numbers")
        return tuple(each for each in found if isinstance(each, int))

    def numbers(self, key: str) -> tuple[float, ...]:
        """Return a list of finite numbers."""
        found = []
        for each in self._list(key):
            if not isinstance(each, int | float) or not math.isfinite(each) or each is True:
                raise self._fault(key, "a list of numbers")
            found.append(float(each))
        return tuple(found)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts; a whole number is one, too."""
        found = []
        for each in self._list(key):
            if not isinstance(each, str) and type(each) is not int:  # 808 is a name, too
                what = f"{self.name}{key} has {shown(each)}"
                raise ValueError(f"{what} in it, which is no text (put it in quotes)")
            found.append(str(each))
        return tuple(found)

    def within(self, key: str, value: float | Fraction, least: float, most: float) -> None:
        """Raise ValueError where a value taken from `key` is beyond reason."""
        if not least <= value <= most:
            raise ValueError(f"{self.name}{key} must be {least:g} to {most:g}, not {shown(value)}")

    def only(self, known: Iterable[str], prefixes: tuple[str, ...] = ()) -> None:
        """Raise ValueError for a key that is none of these, unless it says nothing or no.

        What it would change is not known, so nothing may be computed without it.
        """
        names = frozenset(known)
        for key, value in self.values.items():
            name = str(key)
            off = value is None or (value is False and name.startswith(("use_", "add_")))
            if not off and name not in names and not name.startswith(prefixes):
                raise ValueError(
                    f"{self.name}{shown(name)[1:-1]} is not known, "
                    "and could change what the network gives"
                )

    def fixed(self, key: str, *allowed: object) -> None:
        """Raise ValueError where a value is another than those that sep runs; it may be missing."""
        found = self.values.get(key)
        found = tuple(found) if isinstance(found, list) else found
        if found is not None and not any(
            type(found) is type(each) and found == each for each in allowed
        ):
            what = f"{self.name}{key} is {shown(self.values[key])}"
            raise ValueError(f"{what}, and sep runs it as {shown(allowed[0])} alone")

    def _list(self, key: str) -> list[object]:
        found = self.values.get(key)
        if not isinstance(found, list):
            raise self._fault(key, "a list")
        return found

    def _fault(self, key: str, what: str) -> ValueError:
        if self.values.get(key) is None:
            return ValueError(f"{self.name}{key} is missing")
        return ValueError(f"{self.name}{key} must be {what}, not {shown(self.values[key])}")
