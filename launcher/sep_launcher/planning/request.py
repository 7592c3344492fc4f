"""What the user asked for, checked as far as that goes without looking at the machine."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sep_launcher.planning.route import Wanted
from sep_protocol import Output
from sep_protocol.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

NAME = "{track}/{stem}"
LEAST_MEMORY = 6 << 20  # what Docker allows


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One `sep run`."""

    files: tuple[str, ...]  # files, folders and globs, as typed
    out: Path
    name: str = NAME  # <folder of the track>/<file of the stem>
    model: str | None = None  # name, alias or checkpoint; None: the best that is installed
    model_config: Path | None = None
    output: Output = field(default_factory=Output)
    wanted: Wanted = field(default_factory=Wanted)
    fallback: bool = True
    overlap: float | None = None
    batch: int | None = None
    downmix: bool = False
    memory: int | None = None  # bytes that a container may take

    def __post_init__(self) -> None:
        """Raise UsageError where options exclude each other or have no meaning."""
        if self.output.format == "flac" and self.output.bit_depth == "float":
            raise UsageError("flac cannot hold float samples", hint="--bit-depth 24, or wav")
        if self.output.format in ("mp3", "ogg") and self.output.bit_depth is not None:
            raise UsageError(f"{self.output.format} has no bit depth", hint="leave out --bit-depth")
        if self.overlap is not None and not self.overlap >= 1:
            raise UsageError(f"--overlap must be at least 1, not {self.overlap:g}")
        if self.batch is not None and self.batch < 1:
            raise UsageError(f"--batch must be at least 1, not {self.batch}")
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", self.wanted.device):
            raise UsageError(
                f"there is no device {self.wanted.device!r}", hint="auto, cpu, mps, cuda, cuda:N"
            )
        folder, slash, file = self.name.rpartition("/")
        if not slash or "{track}" not in folder or "{stem}" not in file or "\\" in self.name:
            raise UsageError(
                f"--name {self.name!r} must be FOLDER/FILE with {{track}} in the folder and "
                "{stem} in the file",
                hint="for example '{track}/{track} {stem}'",
            )
        if folder.startswith("/") or ".." in folder.split("/"):
            raise UsageError(f"--name {self.name!r} must stay inside --out")


def bytes_of(size: str | None) -> int | None:
    """Return the bytes of a size like 512m or 4g (powers of 1024); raise UsageError."""
    if size is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([bkmg]?)(?:i?b)?", size.strip().lower())
    if not found:
        raise UsageError(f"{size!r} is no size", hint="for example --memory 4g")
    count = int(float(found[1]) * 1024 ** "bkmg".index(found[2] or "b"))
    if count < LEAST_MEMORY:
        raise UsageError(
            f"a container needs more memory than {size}", hint="for example --memory 4g"
        )
    return count
