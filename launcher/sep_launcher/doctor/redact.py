"""Take out of a report what says who and where somebody is, and what nobody else may know."""

from __future__ import annotations

import getpass
import os
import platform
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

SHORT = 3  # names of so many letters or fewer stand in too many words
FOLDERS = ("PWD", "OLDPWD")  # working folders, no passwords
KNOWN = 8  # letters that a secret has at least which is hidden wherever it stands
COMMON = ("root", "user", "admin", "administrator", "runner", "localhost")
HIDDEN = "<hidden>"
# Lists of folders: that they are set says what breaks, what is in them says where somebody works.
PLACES = re.compile(r"PYTHON(PATH|HOME|STARTUP|USERBASE)|LD_\w+|DYLD_\w+")
ADDRESSES = re.compile(r"\w*(ADDRESS|INDEX|PROXY|URL|HOST|LINKS)\w*", re.IGNORECASE)
NAMES = r"(?:token|secret|passw(?:or)?d|pwd|api[_-]?key|access[_-]?key|credential|signature)"
SECRETS = re.compile(rf"\w*{NAMES}\w*", re.IGNORECASE)
VALUE = r"(?:\"[^\"]*\"\S*|'[^']*'\S*|\S+)"
WORDS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(\b(?:proxy-)?authorization|\b(?:set-)?cookie)(['\"]?\s*[:=]\s*).+",
        r"(\b(?:bearer|basic))(\s+)[^\s'\"]{6,}",
        rf"([\w.-]*{NAMES}[\w.-]*)(['\"]?\s*[:=]\s*){VALUE}",
        rf"(--?[\w-]*{NAMES}[\w-]*)(\s+){VALUE}",
        rf"(\b(?:key|auth|sig))(=){VALUE}",
    )
)
# Addresses that pip, uv and their libraries name without a scheme; with one they are like others.
PARTS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(--(?:extra-|default-)?index(?:-url)?|--find-links|--proxy)([ =]+)(?!['\"]?\w+://){VALUE}",
        rf"(\bwith url)(:\s*){VALUE}",
    )
)
# As their makers mark them, wherever they stand.
MARKED = re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-|hf_|pypi-|sk-|xox[abprs]-|AKIA)[\w-]{8,}")
# someone@host, or user:password@host without a scheme; /opt/python@3.11/bin is a path.
AT = re.compile(r"(?<!\S)(?!['\"(]*~?/(?!/)[^:\s]*:?(?!\S))[^\s@]+@\S+|\S*%40\S*")
# Not what looks like one in a password.
URL = re.compile(r"(?<![\w:@/?#&%+.-])([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
HOST = re.compile(r"([\w.-]+|\[[0-9a-f:.]+\])(:\d+)?(?!\w)", re.IGNORECASE)
LOCAL = ("file", "unix", "npipe")  # what follows is a path of this machine
DAEMON = ("ssh", "tcp")


class Redactor:
    """Replaces home, user and machine names, and secrets in addresses and beside their names.

    What is `strict` is for others' eyes: it has no addresses and no current folder, either, and
    its lines can no longer be typed.
    """

    def __init__(
        self, home: Path | None = None, user: str = "", machine: str = "", *, strict: bool = False
    ) -> None:
        self._strict = strict
        home = home or _home()
        self._homes = sorted({str(home), os.path.realpath(home)}, key=len, reverse=True)
        self._here = _current()
        self._known = _known() if strict else {}
        self._names = [
            (re.compile(rf"(?<![\w]){re.escape(name)}(?![\w])", re.IGNORECASE), shown)
            for name, shown in ((user or _user(), "<user>"), (machine or platform.node(), "<host>"))
            if len(name) > SHORT and name.lower() not in COMMON
        ]

    def text(self, text: str) -> str:
        """Return the text without them."""
        for known, shown in self._known.items():
            text = text.replace(known, shown)
        text = "\n".join(self._line(line) for line in text.split("\n"))
        for home in self._homes:
            if len(home) > 1:
                # Not /rooted for a home of /root.
                text = re.sub(rf"{re.escape(home)}(?![\w-])", "~", text)
        if self._strict and len(self._here) > 1:  # a folder's name may be a customer's
            text = text.replace(self._here, "<current folder>")
        for pattern, shown in self._names:
            text = pattern.sub(shown, text)
        return text

    def _line(self, line: str) -> str:
        """Return the line without secrets; an address reaches to the next one at most."""
        found = list(URL.finditer(line))
        ends = [*(each.start() for each in found[1:]), len(line)]
        parts = [self._words(line[: found[0].start()] if found else line)]
        for each, end in zip(found, ends, strict=bool(found)):
            parts.append(self._address(each.group(1), line[each.end() : end]))
        return "".join(parts)

    def _words(self, text: str) -> str:
        for pattern in (*WORDS, *PARTS) if self._strict else WORDS:
            text = pattern.sub(rf"\1\2{HIDDEN}", text)
        text = MARKED.sub(HIDDEN, text)
        return AT.sub(HIDDEN, text) if self._strict else text

    def _address(self, scheme: str, rest: str) -> str:
        """Return an address, and the words behind it, without who may enter there.

        A password may have any sign in it, so an @ that comes late may end one: then nothing before
        it is sure to be the host.
        """
        if scheme.lower() in LOCAL:
            return f"{scheme}://{self._words(rest)}"
        # A space in a password that nobody has encoded: up to the last @ of the line.
        ends = [each.end() for each in re.finditer(r"^\S*|\S@\S+", rest)]
        address, behind = rest[: max(ends)], self._words(rest[max(ends) :])
        if self._strict and scheme.lower() in DAEMON:
            return f"{scheme}://<address>{behind}"
        beginning = re.split(r"[/?#]", address, maxsplit=1)[0]
        path = address[len(beginning) :]
        host = HOST.match(beginning.rpartition("@")[2])
        if host is None or "@" in path:
            return f"{scheme}://{HIDDEN}{behind}"
        if self._strict:
            return f"{scheme}://{host.group()}{behind}"
        sign = re.search(r"[^\w@]*$", beginning)  # quotes and brackets around it
        path, *query = re.split(r"[?#]", path, maxsplit=1)
        path = (sign.group() if sign else "") + path
        shown = MARKED.sub(HIDDEN, path) + (f"?{HIDDEN}" if query else "")
        return f"{scheme}://{host.group()}{shown}{behind}"

    def all(self, found: Any) -> Any:  # noqa: ANN401 (anything of JSON)
        """Return the JSON value with every text in it redacted."""
        if isinstance(found, str):
            return self.text(found)
        if isinstance(found, dict):
            return {key: self._value(key, value) for key, value in found.items()}
        if isinstance(found, list | tuple):
            return [self.all(each) for each in found]
        return found

    def _value(self, key: str, value: Any) -> Any:  # noqa: ANN401
        """Return the value, by its name where that is one of a variable."""
        if not (key.isupper() and isinstance(value, str) and value):
            return self.all(value)
        if self._strict and PLACES.fullmatch(key):
            return "<set>"
        if SECRETS.fullmatch(key):
            return HIDDEN
        schemeless = "://" not in value and not value.startswith(("/", "~"))
        if self._strict and ADDRESSES.fullmatch(key) and schemeless and value != "default":
            return HIDDEN
        return self.text(value)


def _known() -> dict[str, str]:
    """Return what variables hold that may stand in what programs said, and what is shown for it."""
    found: dict[str, str] = {}
    for name, value in os.environ.items():
        if PLACES.fullmatch(name):
            places = [value, *value.split(os.pathsep)]
            found |= {each: "<set>" for each in places if len(each) > SHORT}
        elif SECRETS.fullmatch(name) and name not in FOLDERS:
            found |= _forms(value)
        elif ADDRESSES.fullmatch(name) and "://" in value:
            # Who enters, and what may be a token in its path.
            _, _, behind = value.partition("://")
            entrance, _, rest = behind.rpartition("@")
            pieces = [*entrance.split(":"), entrance.partition(":")[2]]
            for piece in (*pieces, *re.split(r"[/?#&=]", rest)[1:]):
                found |= _forms(piece)
    return dict(sorted(found.items(), key=lambda each: -len(each[0])))


def _forms(secret: str) -> dict[str, str]:
    forms = {secret, unquote(secret), quote(os.fsencode(secret), safe="")}
    return {each: HIDDEN for each in forms if len(each) >= KNOWN}


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")  # nobody's, and nothing to hide


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
