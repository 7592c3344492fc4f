"""What the page has to do, and how far it is: as values, and as the page sees them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from sep_launcher.ui.face import Face

State = Literal["waiting", "running", "asking", "done", "failed", "cancelled"]
Existing = Literal["ask", "keep", "replace"]
LINES = 40  # of what was said, that are kept


def name() -> str:
    """Return an id that nobody guesses."""
    return secrets.token_urlsafe(9)


@dataclass(slots=True, kw_only=True)
class Song:
    """One track of a task."""

    id: str
    mix: str
    title: str
    state: State = "waiting"
    done: int = 0  # frames of work
    total: int = 0
    rate: int = 0
    out: str = ""
    stems: tuple[str, ...] = ()
    seconds: float = 0.0  # of work
    length: float = 0.0  # seconds of audio
    resumed: bool = False
    clipped: dict[str, int] = field(default_factory=dict)
    error: str = ""
    hint: str = ""
    peaks: dict[str, bytearray] = field(default_factory=dict)  # by stem; pairs, as the event's

    def document(self) -> dict[str, Any]:
        """Return what the page sees; the peaks are asked for apart."""
        told = ("id", "mix", "title", "state", "done", "total", "rate", "out", "stems", "seconds",
                "length", "resumed", "clipped", "error", "hint")  # fmt: skip
        return {each: getattr(self, each) for each in told}


@dataclass(slots=True, kw_only=True)
class Task:
    """One thing to do: songs to split, or something to set up or to fetch.

    `work` does it, and returns its exit code.
    """

    title: str
    kind: Literal["run", "setup", "pull"]
    work: Callable[[Face], int]
    id: str = field(default_factory=name)
    state: State = "waiting"
    existing: Existing = "ask"
    agreed: bool = False  # whether a person has said yes to what was asked
    halted: bool = False  # whether a person wants it to end
    upload: str = ""  # the batch of copies that it is of
    spent: bool = False  # whether these are gone
    songs: list[Song] = field(default_factory=list)
    place: str = ""  # where it is done, for people
    route: str = ""
    reasons: tuple[str, ...] = ()
    model: str = ""
    device: dict[str, Any] | None = None  # what the runtime really uses
    phase: str = ""
    meter: dict[str, Any] | None = None  # bytes of something that comes
    lines: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: dict[str, Any] | None = None
    findings: list[dict[str, Any]] = field(default_factory=list)
    question: dict[str, Any] | None = None
    seconds: float = 0.0
    left: float | None = None  # seconds, of all songs
    speed: float = 0.0  # seconds of audio per second of work

    def document(self, *, songs: bool = True) -> dict[str, Any]:
        """Return what the page sees; without its songs, of which there may be thousands."""
        told = ("id", "title", "kind", "state", "place", "route", "reasons", "model", "device",
                "phase", "meter", "lines", "warnings", "error", "findings", "question", "seconds",
                "left", "speed", "spent")  # fmt: skip
        found = {each: getattr(self, each) for each in told}
        if not songs:
            return found
        return {**found, "songs": [each.document() for each in self.songs]}

    def say(self, text: str) -> None:
        """Note a line."""
        self.lines.append(text)
        del self.lines[:-LINES]

    def begin(self) -> None:
        """Forget what an earlier attempt said; songs stay, they may be done."""
        self.state, self.halted, self.question, self.error = "running", False, None, None
        self.lines, self.warnings, self.findings = [], [], []
        self.phase, self.meter, self.left, self.device = "", None, None, None

    @property
    def is_open(self) -> bool:
        """Say whether something may still come of it."""
        return self.state in ("waiting", "running", "asking")


def title_of(paths: list[str]) -> str:
    """Return what people call these files together."""
    first = Path(paths[0]).name or paths[0]
    return first if len(paths) == 1 else f"{first} and {len(paths) - 1} more"
