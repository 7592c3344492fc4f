"""What a run, or a setup, tells and asks: a terminal is one such screen, a page another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sep_launcher.planning.plan import Plan
    from sep_launcher.planning.preview import Preview
    from sep_launcher.planning.workers import By
    from sep_launcher.show.report import Report
    from sep_protocol import Event
    from sep_protocol.errors import SepError


class Screen(Protocol):
    """One run as people and scripts see it."""

    report: Report

    @property
    def can_ask(self) -> bool:
        """Say whether there is a person to ask."""

    @property
    def wants_command(self) -> bool:
        """Say whether somebody will read the command of a dry run."""

    @property
    def open(self) -> bool:
        """Say whether the output of other programs is shown as it comes."""

    def ask(self, question: str) -> bool:
        """Ask a person; no answer is a no."""

    def route(self, plan: Plan) -> None:
        """Say what will be done and where, before it is done."""

    def event(self, event: Event, by: By | None = None) -> None:
        """Show one event, and who said it."""

    def preview(self, found: list[Preview], fault: SepError | None) -> None:
        """Say what a run would do, and why it would not begin."""

    def command(self, line: str) -> None:
        """Give the command of a dry run."""

    def say(self, text: str, *, hint: str = "", loud: bool = False) -> None:
        """Tell a line, and one for a hint; `loud` also when quiet."""

    def warn(self, text: str, hint: str = "") -> None:
        """Note and show a warning of the launcher's own, once."""

    def fault(self, fault: SepError) -> None:
        """Note what ended the run; `close` shows it."""

    def log(self, line: str) -> None:
        """Take a line that the runtime wrote to its stderr."""

    def meter(self, what: str, done: int = 0, total: int = 0) -> None:
        """Show how many bytes of something are here, or that it goes on; no name: as before."""

    def meter_end(self) -> None:
        """Take that away."""

    def stopping(self) -> None:
        """Say that the run is being stopped."""

    def leave(self) -> None:
        """Leave the terminal to the shell: this process is about to be stopped."""

    def close(self) -> int:
        """Show the end of the run and return its exit code."""
