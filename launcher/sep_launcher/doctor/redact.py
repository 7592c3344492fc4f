"""Take out of a report what says who and where somebody is."""

from __future__ import annotations

import getpass
import os
import platform
import re
from pathlib import Path
from typing import Any

SHORT = 3  # names of so many letters or fewer stand in too many words
COMMON = ("root", "user", "admin", "administrator", "runner", "localhost")


class Redactor:
    """Replaces home, user and machine names, and passwords in addresses.

    What is `strict` is for others' eyes: it has no addresses and no current folder, either, and
    its lines can no longer be typed.
    """

    def __init__(
        self, home: Path | None = None, user: str = "", machine: str = "", *, strict: bool = False
    ) -> None:
        self._strict = strict
        home = home or Path.home()
        self._homes = sorted({str(home), os.path.realpath(home)}, key=len, reverse=True)
        self._here = _current()
        self._names = [
            (re.compile(rf"(?<![\w]){re.escape(name)}(?![\w])", re.IGNORECASE), shown)
            for name, shown in ((user or _user(), "<user>"), (machine or platform.node(), "<host>"))
            if len(name) > SHORT and name.lower() not in COMMON
        ]

    def text(self, text: str) -> str:
        """Return the text without them."""
        for home in self._homes:
            if len(home) > 1:
                # Not /rooted for a home of /root.
                text = re.sub(rf"{re.escape(home)}(?![\w-])", "~", text)
        if self._strict:
            if len(self._here) > 1:  # a folder's name may be a customer's
                text = text.replace(self._here, "<current folder>")
            text = re.sub(r"\b(ssh|tcp)://[^/\s\"']+", r"\1://<address>", text)
        text = re.sub(r"(\w+://)[^/\s@:]+(:[^/\s@]*)?@", r"\1", text)
        for pattern, shown in self._names:
            text = pattern.sub(shown, text)
        return text

    def all(self, found: Any) -> Any:  # noqa: ANN401 (anything of JSON)
        """Return the JSON value with every text in it redacted."""
        if isinstance(found, str):
            return self.text(found)
        if isinstance(found, dict):
            return {key: self.all(value) for key, value in found.items()}
        if isinstance(found, list | tuple):
            return [self.all(each) for each in found]
        return found


def _current() -> str:
    try:
        return str(Path.cwd())
    except OSError:
        return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
