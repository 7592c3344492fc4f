"""What the user asked for, checked as far as that goes without looking at the machine."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sep_launcher.machine import storage
from sep_launcher.planning import names
from sep_launcher.planning.route import Wanted
from sep_models import canonical
from sep_protocol import Output, ensemble_fault, fill, speed_fault
from sep_protocol.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from sep_launcher.planning.cluster import ClusterWish
    from sep_launcher.planning.shards import Shard
    from sep_launcher.planning.workers import Jobs
    from sep_protocol import Precision

NAME = "{track}/{stem}"
PLACES = ("track", "model", "parent")  # what may be filled in everywhere in a name
KNOWN = "it knows {track}, {parent} and {model}, and {stem} in the last part"
MARK = "\0"  # stands for what is filled in
AUTO, NONE = "auto", "none"  # of --from-mix: the best model that is here, and no model
NO_MEMORY = "--memory limits a container, and this run is native"
LEAST_MEMORY = 6 << 20  # what Docker allows
MOST_MEMORY = 1 << 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One `sep run`."""

    files: tuple[str, ...]  # files, folders and globs, as typed
    out: Path | str  # a text: an address in an object store
    name: str = NAME  # <folder of the track>/<file of the stem>
    include: tuple[str, ...] = ()  # in folders, only what matches one of these globs
    model: str | None = None  # name, alias or checkpoint; None: the best that is installed
    model_config: Path | None = None
    beside: tuple[str, ...] = ()  # models whose stems `model` makes a mean with
    weights: tuple[float, ...] = ()  # of `model` and of each beside it; none: equal
    from_mix: str | None = None  # the model that hears a song before them; AUTO: the best here
    shifts: int = 1
    output: Output = field(default_factory=Output)
    wanted: Wanted = field(default_factory=Wanted)
    devices: tuple[str, ...] = ()  # several that share the tracks; none: the one of `wanted`
    jobs: Jobs = None  # runtimes at once; None: one for each device
    noted: bool = False  # whether runs of many tracks have noted there how they are: so does this
    cluster: ClusterWish | None = None  # whose nodes do it; None: this machine
    take_over: bool = False  # whether a run that works at the same output is to end
    retry_quarantined: bool = False
    fallback: bool = True
    overlap: float | None = None
    batch: int | None = None
    precision: Precision = "auto"
    downmix: bool = False
    peaks: int = 0  # pairs a second that a run tells of every stem, for who draws them
    shard: Shard | None = None  # of several runs that share the files; None: it does all of them
    memory: int | None = None  # bytes that a container may take
    stage: Path | None = None  # the folder for what comes from stores and goes there
    stage_limit: int | None = None  # bytes that may lie there

    def __post_init__(self) -> None:
        """Raise UsageError where options exclude each other or have no meaning."""
        if self.output.format == "flac" and self.output.bit_depth == "float":
            raise UsageError("flac cannot hold float samples", hint="--bit-depth 24, or wav")
        if self.output.format in ("mp3", "ogg") and self.output.bit_depth is not None:
            raise UsageError(f"{self.output.format} has no bit depth", hint="leave out --bit-depth")
        if fault := speed_fault(self.overlap, self.batch):
            raise UsageError(f"--{fault}")
        self._check_models()
        if self.memory is not None and self.wanted.engine == "native":
            raise UsageError(NO_MEMORY, hint="leave out --memory, or --engine container")
        if self.cluster and (self.devices or self.jobs is not None):
            raise UsageError(
                "--engine ray has its own workers", hint="--workers and --gpu-share say how many"
            )
        if self.take_over and not (self.library or self.cluster):
            raise UsageError(
                "--take-over is for runs of many tracks at once", hint="--jobs, or leave it out"
            )
        if "" in self.include:
            raise UsageError("--include is empty", hint="for example --include 'drums.*'")
        _check_stems(self.output.stems)
        _check_name(self.name)
        if storage.is_url(self.out):
            storage.check(str(self.out))

    def _check_models(self) -> None:
        if self.model == "":
            raise UsageError("--model is empty", hint="sep models list")
        if self.weights and not self.beside:
            raise UsageError("--weights is for several models", hint="--model A,B --weights 2,1")
        if fault := ensemble_fault(1 + len(self.beside), self.weights, self.shifts):
            raise UsageError(f"--{fault}")
        if self.from_mix is None and self.output.intermediate:
            raise UsageError(
                "--keep-intermediate keeps the stems of --from-mix",
                hint="add --from-mix, or leave out --keep-intermediate",
            )

    @property
    def library(self) -> bool:
        """Say whether others share the tracks: runtimes of this run, or runs of other shards."""
        return bool(self.devices or self.shard) or self.jobs not in (None, 1)

    @property
    def shared(self) -> bool:
        """Say whether many tracks go into one folder: then none is called after one of them."""
        return not has(self.name.rpartition("/")[0], "track")


def has(name: str, place: str) -> bool:
    """Say whether something is filled in at a place of this name."""
    return MARK in fill(name, {place: MARK})


def _check_stems(stems: tuple[str, ...] | None) -> None:
    """Raise UsageError for no name and for two alike, whatever the model makes."""
    seen: set[str] = set()
    for stem in map(canonical, stems or ()):
        if not stem:
            raise UsageError("--stems has an empty name", hint="for example --stems kick,snare")
        if stem in seen:
            raise UsageError(f"--stems names {stem} twice", hint="for example --stems kick,snare")
        seen.add(stem)


def _check_name(name: str) -> None:
    """Raise UsageError where two tracks or stems would get one name, or one that cannot be."""
    folder, _, file = name.rpartition("/")
    for part, known in ((folder, PLACES), (file, (*PLACES, "stem"))):
        for found in re.findall(r"\{\{|\}\}|\{[^{}]*\}", part):  # as `fill` takes them
            if found not in ("{{", "}}") and found[1:-1] not in known:
                where = " in its folder" if found == "{stem}" else ""
                raise UsageError(
                    f"--name {name!r} has {found}{where}, which is not filled in",
                    hint=f"{KNOWN}; {{{{ and }}}} are braces",
                )
    if not has(file, "stem") or not (has(name, "track") or has(name, "parent")):
        raise UsageError(
            f"--name {name!r} must have {{stem}} in its last part, and {{track}} or {{parent}}",
            hint="for example '{track}/{track} {stem}', or '{track} {stem}' for one folder",
        )
    if name.startswith("/") or ".." in folder.split("/"):
        raise UsageError(f"--name {name!r} must stay inside --out")
    if any(part.startswith(names.HIDDEN) for part in name.split("/")):
        raise UsageError(f"--name {name!r} begins like sep's own work folders")
    if never := names.NEVER.search(name.replace("/", "")):
        raise UsageError(f"--name {name!r} has {never[0]!r}, which not every system takes")


def bytes_of(size: str | None) -> int | None:
    """Return the bytes of a container's size like 512m or 4g; raise UsageError."""
    count = size_of(size, "--memory")
    if count is not None and count < LEAST_MEMORY:
        raise UsageError(
            f"a container needs more memory than {size}", hint="for example --memory 4g"
        )
    return count


def size_of(size: str | None, option: str) -> int | None:
    """Return the bytes of a size like 512m or 4g (powers of 1024); raise UsageError."""
    if size is None:
        return None
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([bkmg]?)(?:i?b)?", size.strip().lower())
    if not found:
        raise UsageError(f"{size!r} is not a size", hint=f"for example {option} 4g")
    count = float(found[1]) * 1024 ** "bkmg".index(found[2] or "b")
    if count > MOST_MEMORY:
        raise UsageError(f"{size} is more than there is", hint=f"for example {option} 4g")
    return int(count)
