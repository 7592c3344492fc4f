"""A line, or a few, at the bottom of a terminal that are drawn again and again.

The cursor waits at their beginning. So a terminal that becomes narrower, and folds a line, still
has all of it behind the cursor, where the next drawing erases it.
"""

from __future__ import annotations

import os
import sys

from sep_launcher.show import layout

ERASE = "\r\x1b[J"
UP = "\x1b[{}A"


class Line:
    """The lines; shows nothing where stderr is no terminal, or where it is `hidden`."""

    def __init__(self, *, hidden: bool = False) -> None:
        self._hidden = hidden
        self._shown = ""
        if self.is_there and sys.platform == "win32":  # never run on Windows
            import ctypes  # noqa: PLC0415

            console = ctypes.windll.kernel32
            console.SetConsoleMode(console.GetStdHandle(-12), 7)  # it obeys ERASE

    @property
    def width(self) -> int:
        """The columns that may be drawn on, as the terminal is now; 0 where there is none."""
        hidden = self._hidden or os.environ.get("TERM") == "dumb"
        return 0 if hidden else max(0, layout.columns(sys.stderr) - 1)

    @property
    def is_there(self) -> bool:
        """Say whether there is a terminal that can draw."""
        return self.width > 0

    def draw(self, *texts: str) -> None:
        """Show texts, one on each line, instead of what is there."""
        if width := self.width:
            self._shown = "\n".join(layout.clipped(text, width) for text in texts)
            self._shown += UP.format(len(texts) - 1) * (len(texts) > 1)
            _write(f"{ERASE}{self._shown}\r")

    def above(self, text: str) -> None:
        """Write a text that stays, ended by a line's end, above the line."""
        _write(f"{ERASE}{text}{self._shown}\r" if self._shown else text)

    def erase(self) -> None:
        """Take the line away."""
        if self._shown:
            self._shown = ""
            _write(ERASE)

    def leave(self) -> None:
        """Take it off the screen for the shell; called by a signal, maybe amid a drawing."""
        if self._shown:
            os.write(2, ERASE.encode())


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
