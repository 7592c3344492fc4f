"""Text in columns of a terminal: how wide it is, cut, wrapped, in a table. Pure but for `columns`.

A pipe has no width: what goes there is never wrapped, so that a line stays a line.
"""

from __future__ import annotations

import os
import re
import textwrap
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO

    Row = tuple[str, ...]

GAP = 2  # columns between two cells
USUAL = 80  # of a terminal that does not know its width
LEAST = 8  # columns that a cell of a table keeps
MINUTE, HOUR = 60, 3600
SLOW = 0.1  # below, one digit would say nothing
ROUGH = 1.5  # of a minute or an hour, and the larger unit alone is told
EXACT_SECONDS = 9.95  # below, tenths are told


def columns(stream: IO[str]) -> int:
    """Return the width of the terminal that a stream writes to; 0 where that is none."""
    try:
        return (os.get_terminal_size(stream.fileno()).columns or USUAL) if stream.isatty() else 0
    except (OSError, ValueError):
        return 0


def cells(text: str) -> int:
    """Return how many columns a text takes: Chinese characters and emojis take two."""
    return sum(_cell(char) for char in text)


def _cell(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def clipped(text: str, most: int) -> str:
    """Return as much of a text as fits into `most` columns; what is cut is shown as `...`."""
    if cells(text) <= most:
        return text
    kept, room = "", most - len("...")
    for char in text:
        room -= _cell(char)
        if room < 0:
            break
        kept += char
    return (kept + "...")[: max(most, 0)]


def padded(text: str, width: int) -> str:
    """Return the text with blanks up to a width."""
    return text + " " * (width - cells(text))


def wrapped(line: str, width: int) -> list[str]:
    """Return a line in lines of at most `width` columns, parted between words alone.

    They go on below the text that follows the first gap of two blanks. 0: as it is.
    """
    if not width or cells(line) <= width:
        return [line]
    head = re.match(r"\s*(\S+( \S+){0,3}\s{2,})?", line)
    indent = min(head.end() if head else 0, width // 2)
    return textwrap.wrap(
        line,
        width,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def table(rows: Sequence[Row], width: int = 0) -> list[str]:
    """Return rows as lines, their cells below each other; those too wide are wrapped, not cut."""
    widths = fitted(rows, width)
    return [line for row in rows for line in lined(row, widths)]


def fitted(rows: Sequence[Row], width: int = 0) -> list[int]:
    """Return how wide the columns of a table are, within `width` as far as words allow.

    The first column is to be typed, so it is never wrapped.
    """
    if not rows:
        return []
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    words = [max(map(_word, column), default=0) for column in zip(*rows, strict=True)]
    while width and sum(widths) + GAP * (len(widths) - 1) > width:
        spare = [i for i in range(1, len(widths)) if widths[i] > max(words[i], LEAST)]
        if not spare:
            break
        widths[max(spare, key=widths.__getitem__)] -= 1
    return widths


def lined(row: Row, widths: Sequence[int]) -> list[str]:
    """Return a row of a table as lines."""
    parted = [
        textwrap.wrap(cell, max(wide, 1), break_long_words=False, break_on_hyphens=False)
        for cell, wide in zip(row, widths, strict=True)
    ]
    found = []
    for line in range(max(map(len, parted))):
        here = [cell[line] if line < len(cell) else "" for cell in parted]
        text = (" " * GAP).join(map(padded, here, widths))
        found.append(text.rstrip())
    return found


def _word(cell: str) -> int:
    return max(map(cells, cell.split()), default=0)


def span(seconds: float) -> str:
    """Return a time in words: 0.8 s, 42 s, 3 min 5 s, 2 h 10 min."""
    if seconds < EXACT_SECONDS:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"


def rough(seconds: float) -> str:
    """Return a time that is only estimated: 42 s, 12 min, 2 h 10 min."""
    if seconds < ROUGH * MINUTE:
        return f"{round(seconds)} s"
    if seconds < ROUGH * HOUR:
        return f"{round(seconds / MINUTE)} min"
    return span(seconds)


def speed(factor: float) -> str:
    """Return seconds of audio per second in words."""
    return f"{factor:.{1 if factor >= SLOW else 2}f}x real time"


def near(path: str) -> str:
    """Return a path as people would type it here: relative where it is below this folder."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except (OSError, ValueError):
        return path
