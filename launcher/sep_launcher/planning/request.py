"""What the user asked for, checked as far as that goes without looking at the machine."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sep_launcher.planning import names
from sep_launcher.planning.route import Wanted
from sep_protocol import Bench, Output, fill, speed_fault
from sep_protocol.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

NAME = "{track}/{stem}"
LEAST_MEMORY = 6 << 20  # what Docker allows
MOST_MEMORY = 1 << 60
BENCH_SECONDS = (0.1, 600.0)
MOST_RUNS = 1000


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
        if fault := speed_fault(self.overlap, self.batch):
            raise UsageError(f"--{fault}")
        if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", self.wanted.device):
            raise UsageError(
                f"there is no device {self.wanted.device!r}", hint="auto, cpu, mps, cuda, cuda:N"
            )
        if self.model == "":
            raise UsageError("--model is empty", hint="sep models list")
        _check_name(self.name)


def _check_name(name: str) -> None:
    """Raise UsageError where two tracks or stems would get one name, or one that cannot be."""
    folder, _, file = name.rpartition("/")
    mark = "\0"
    if mark not in fill(folder, {"track": mark}) or mark not in fill(file, {"stem": mark}):
        raise UsageError(
            f"--name {name!r} must be FOLDER/FILE with {{track}} in the folder and "
            "{stem} in the file",
            hint="for example '{track}/{track} {stem}'",
        )
    if folder.startswith("/") or ".." in folder.split("/"):
        raise UsageError(f"--name {name!r} must stay inside --out")
    if never := names.NEVER.search(name.replace("/", "")):
        raise UsageError(f"--name {name!r} has {never[0]!r}, which not every system takes")


def bench_of(*, seconds: float, runs: int, baselines: bool) -> Bench:
    """Return what is to be measured; raise UsageError for more than fits in memory and a day."""
    least, most = BENCH_SECONDS
    if not least <= seconds <= most:  # also for nan
        raise UsageError(f"--seconds must be from {least:g} to {most:g}, not {seconds:g}")
    if not 1 <= runs <= MOST_RUNS:
        raise UsageError(f"--runs must be from 1 to {MOST_RUNS}, not {runs}")
    return Bench(seconds=seconds, runs=runs, baselines=baselines)


def bytes_of(size: str | None) -> int | None:
    """Return the bytes of a size like 512m or 4g (powers of 1024); raise UsageError."""
    if size is None:
        return None
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([bkmg]?)(?:i?b)?", size.strip().lower())
    if not found:
        raise UsageError(f"{size!r} is no size", hint="for example --memory 4g")
    count = float(found[1]) * 1024 ** "bkmg".index(found[2] or "b")
    if count < LEAST_MEMORY:
        raise UsageError(
            f"a container needs more memory than {size}", hint="for example --memory 4g"
        )
    if count > MOST_MEMORY:
        raise UsageError(f"{size} is more memory than there is", hint="for example --memory 4g")
    return int(count)
