"""Many values in one text, with commas between them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from sep_protocol.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")


def parted(
    texts: Iterable[str] | None, option: str, whole: Callable[[str], bool] = lambda _: False
) -> list[str]:
    """Return the values of an option, given more than once or with commas, in their order.

    A text that is `whole` has a comma in its own name. Raises UsageError for an empty value.
    """
    found = []
    for text in texts or ():
        for each in [text] if whole(text) else text.split(","):
            if not each.strip():
                raise UsageError(f"{option} has an empty value", hint="commas only between values")
            found.append(each.strip())
    return found


def number(text: str, kind: Callable[[str], T], option: str) -> T:
    """Return the number that a text is; raise UsageError where it is none."""
    try:
        return kind(text)
    except ValueError:
        whole = "a whole number" if kind is int else "a number"
        raise UsageError(f"{option} must be {whole}, not {text!r}") from None
