"""Commands as lines to paste. Whatever is in a name, such a line can be shown and read back."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def bash(words: Iterable[str]) -> str:
    """Return a command for bash and its like."""
    return " ".join(map(_in_bash, words))


def powershell(words: Iterable[str]) -> str:
    """Return a command for PowerShell, to come after its `&`."""
    return " ".join(map(_in_powershell, words))


def _in_bash(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(map(_in_dollar_quotes, word)) + "'"


def _in_dollar_quotes(char: str) -> str:
    if char in "'\\":
        return f"\\{char}"
    if char.isprintable():
        return char
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))


def _in_powershell(word: str) -> str:
    plain = re.fullmatch(r"[\w./:\\-]+", word, re.ASCII)
    return word if plain else "'" + word.replace("'", "''") + "'"
