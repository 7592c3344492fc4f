"""What a finding is: something wrong on this machine, what it breaks, the line that fixes it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from sep_launcher.machine.host import System

Severity = Literal["error", "warning"]


class Group(StrEnum):
    """What a finding is about, in the order in which people read it."""

    HOST = "Host"
    GPU = "GPU"
    ENGINE = "Engine"
    IMAGE = "Image"
    FILES = "Models and files"
    LIBRARY = "Many machines"
    NATIVE = "Native environment"  # its answers take as long as importing torch
    DEVICES = "Devices"  # what --deep has tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """The line that mends it, by system.

    `{python}` and `{data}` stand for this machine's, `{repair}` for what mends its environment:
    setup mends its own alone.
    """

    everywhere: str = ""
    linux: str = ""
    macos: str = ""
    windows: str = ""

    def on(self, system: System) -> str:
        """Return the line for a system."""
        own = {"linux": self.linux, "macos": self.macos, "windows": self.windows}[system]
        return own or self.everywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is wrong on this machine."""

    id: str
    group: Group
    severity: Severity
    title: str
    detail: str
    breaks: str
    fix: str
