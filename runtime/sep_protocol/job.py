"""The Job: what the launcher asks of the runtime, as one JSON file."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from sep_protocol.codec import FormError, decode
from sep_protocol.errors import NotReadyError, UsageError
from sep_protocol.version import PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Format = Literal["wav", "flac", "mp3", "ogg"]
BitDepth = Literal["16", "24", "float"]
Precision = Literal["auto", "fp32", "fp16", "bf16"]
M = TypeVar("M")
MOST_BATCH = 1024
MOST_SHIFTS = 100
MOST_PEAKS = 1000  # a second
REPORT = "sep.json"  # in every finished track's own folder, written last


def path_field(default: Any = ...) -> Any:  # noqa: ANN401 (it stands in for a field of any type)
    """Return a dataclass field that holds paths as the runtime sees them."""
    if default is ...:
        return field(metadata={"path": True})
    return field(default=default, metadata={"path": True})


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return the template with its `{name}`s filled in, in one pass; {{ and }} are braces.

    What is no name of a value stays as it is.
    """
    braces = {"{{": "{", "}}": "}"}

    def value(found: re.Match[str]) -> str:
        text = found.group()
        return braces.get(text) or values.get(text[1:-1], text)

    return re.sub(r"\{\{|\}\}|\{\w+\}", value, template)


def escaped(text: str) -> str:
    """Return a text that `fill` gives back as it is."""
    return text.replace("{", "{{").replace("}", "}}")


def called(models: Sequence[str], first: str = "") -> str:
    """Return what people call models together: a+b for a mean, with `first` one before them."""
    mean = "+".join(models)
    return f"{first} then {mean}" if first else mean


def speed_fault(overlap: float | None, batch: int | None) -> str:
    """Return what is wrong, in words that begin with the name of one, nothing where all is well."""
    if overlap is not None and not 1 <= overlap < math.inf:
        return f"overlap must be at least 1, not {overlap:g}"
    if batch is not None and not 1 <= batch <= MOST_BATCH:
        return f"batch must be from 1 to {MOST_BATCH}, not {batch}"
    return ""


def ensemble_fault(models: int, weights: Sequence[float], shifts: int) -> str:
    """Return what is wrong, in words that begin with the name of one, nothing where all is well."""
    if not 1 <= shifts <= MOST_SHIFTS:
        return f"shifts must be from 1 to {MOST_SHIFTS}, not {shifts}"
    if weights and models == 1:
        return "weights are for several models"
    if weights and len(weights) != models:
        return f"weights must be as many as the models, {models}, not {len(weights)}"
    if not all(0 < each < math.inf for each in weights):
        return "weights must be numbers above 0"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One file of the job."""

    audio: str = path_field()  # the mix
    out: str = path_field()  # the folder that its stems will be in
    shared: bool = False  # whether `out` has other tracks' stems, too, and is not the track's own
    stem_name: str = "{stem}"  # file name of a stem, without its ending; {{ and }} are braces
    shown: str = ""  # what people call the mix, for the report; empty: `audio`

    def __post_init__(self) -> None:
        """Raise ValueError where stems would get one name or leave the folder."""
        if self.file_of("a") == self.file_of("b") or set("/\\\0") & set(self.stem_name):
            raise ValueError(f"stem_name {self.stem_name!r} is no file name with {{stem}} in it")

    def file_of(self, stem: str) -> str:
        """Return the file name of a stem, without its ending."""
        return fill(self.stem_name, {"stem": stem})

    @property
    def report(self) -> str:
        """The name of the file that says what made its stems."""
        return f"{self.file_of('sep')}.json" if self.shared else REPORT

    def place(self, flavour: type[PurePath] = PurePath) -> str:
        """Return the folder that is written to: `out` itself, or where it will be."""
        return self.out if self.shared else str(flavour(self.out).parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model by `name`, or any `checkpoint` with its `settings`.

    One of the catalogue has weights in its folder, a user's own one what it is, too.
    """

    name: str
    folder: str | None = path_field(default=None)  # its weights; None: bundled in the package
    checkpoint: str | None = path_field(default=None)
    settings: str | None = path_field(default=None)  # the training tools' YAML
    sha256: str | None = None  # what the weights must have; None: nobody noted it


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What is written."""

    stems: tuple[str, ...] | None = None  # None: all
    format: Format = "wav"
    bit_depth: BitDepth | None = (
        None  # None: 24, float for float input; of no meaning for mp3 and ogg
    )
    residual: bool = False  # one more file: the mix minus all stems
    intermediate: bool = False  # also the stems of the model that hears the song first
    overwrite: bool = False
    resume: bool = False  # what is there of the same mix, model and settings counts as done
    verify: bool = False  # whether `resume` reads mixes whose size and time are those of the report


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Measure the model instead of separating tracks."""

    seconds: float = 30.0  # of audio
    runs: int = 3
    baselines: bool = True  # whether to measure the field's own schemes beside ours
    snr: bool = True  # whether to compare the golden clip's stems with those of plain CPU fp32
    tuning: bool = False  # whether to say what the fast ways chose
    profile: bool = False  # whether to say which operators take the time
    trace: str | None = path_field(default=None)  # the file for every operator's times
    mix: str | None = path_field(default=None)  # the file that the audio is left in, as WAV


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A file of weights as its author published it."""

    file: str = path_field()
    stem: str | None = None  # for models with one network per stem


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """Convert the published files of the model into its one file of weights.

    A model that is a checkpoint becomes a user's own, under the name that the Job gives it.
    """

    files: tuple[Published, ...]  # of a model of the catalogue; none for a checkpoint
    folder: str = path_field()  # where the weights will be


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Many tracks, one device. Paths are as the runtime sees them.

    `model` makes the stems, or the mean of it and the models `beside` it, which have the same ones.
    With `from_mix` the tracks are songs: it takes their drums out, which the others split.
    """

    id: str
    tracks: tuple[Track, ...]
    model: Model
    beside: tuple[Model, ...] = ()
    weights: tuple[float, ...] = ()  # of `model` and of each beside it in the mean; none: equal
    from_mix: Model | None = None
    shifts: int = 1  # passes of each model over a mix, each shifted in time; the stems are the mean
    output: Output = field(default_factory=Output)
    device: str = "auto"  # auto | cpu | mps | cuda[:N]
    fallback: bool = True  # whether `auto` may go on with another device
    overlap: float | None = None  # chunk / hop; None: the model's own
    batch: int | None = None  # chunks at once; None: the runtime's choice
    precision: Precision = "auto"  # of the network; auto: the fastest that passes on the device
    bench: Bench | None = None
    install: Install | None = None
    identity: str = ""  # what all stems of the same models and settings share; for the report
    host: str = ""  # the machine's name: whose hidden folders are; empty: not known
    tidy: bool = True  # whether what dead jobs left beside the tracks is cleared away first
    sweep: tuple[str, ...] = path_field(default=())  # folders to clear of dead jobs' work, no more
    of: tuple[str, ...] = ()  # ids of jobs that are over: cleared away whatever machine's they are
    downmix: bool = False  # whether more than two channels may become two
    peaks: int = 0  # pairs of them a second that are told of every stem, for who draws; 0: none
    protocol: int = PROTOCOL

    def __post_init__(self) -> None:
        """Raise ValueError for an id that could not be one of ours: hidden folders are named so."""
        for each in (self.id, *self.of):
            if not re.fullmatch("[0-9a-f]{8}", each):
                raise ValueError(f"id {each[:80]!r} is not made of eight hexadecimal digits")
        if fault := ensemble_fault(1 + len(self.beside), self.weights, self.shifts):
            raise ValueError(fault)
        if not 0 <= self.peaks <= MOST_PEAKS:
            raise ValueError(f"peaks must be from 0 to {MOST_PEAKS} a second, not {self.peaks}")

    @property
    def models(self) -> tuple[Model, ...]:
        """All models, in the order in which they hear a mix."""
        first = (self.from_mix,) if self.from_mix else ()
        return (*first, self.model, *self.beside)

    @property
    def called(self) -> str:
        """What people call all models together; a name that any file system takes."""
        first = self.from_mix.name if self.from_mix else ""
        return called([each.name for each in (self.model, *self.beside)], first)


def dump_job(job: Job, *, line: bool = False) -> str:
    """Return the Job as JSON, on one `line` or in a form for people.

    Everything that carries paths between processes or to scripts is JSON in ASCII: a path's bytes
    that are no UTF-8 are lone surrogates in Python (PEP 383), escaped in the text, so they come
    through any encoding and out as the same bytes.
    """
    return json.dumps(asdict(job), indent=None if line else 1) + "\n"


def load_job(text: str) -> Job:
    """Parse a Job file.

    Raises NotReadyError where it is of another protocol and UsageError where it is not a Job.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise UsageError(f"the job file is not JSON: {fault}") from fault
    spoken = raw.get("protocol") if isinstance(raw, dict) else None
    if spoken != PROTOCOL:
        raise NotReadyError(
            f"the job speaks protocol {spoken}, this runtime speaks {PROTOCOL}",
            hint="run: sep setup",
        )
    try:
        return decode(Job, raw)
    except FormError as fault:
        raise UsageError(f"the job file is not valid: {fault}") from fault


def map_paths(message: M, translate: Callable[[str], str]) -> M:
    """Return the message with `translate` applied to every field that is marked as a path."""
    changes: dict[str, Any] = {}
    for each in fields(message):  # type: ignore[arg-type]
        value = getattr(message, each.name)
        if each.metadata.get("path"):
            changes[each.name] = _translated(value, translate)
        elif is_dataclass(value):
            changes[each.name] = map_paths(value, translate)
        elif isinstance(value, tuple) and value and is_dataclass(value[0]):
            changes[each.name] = tuple(map_paths(item, translate) for item in value)
    return replace(message, **changes)  # type: ignore[type-var]


def _translated(value: Any, translate: Callable[[str], str]) -> Any:  # noqa: ANN401
    if value is None:
        return None
    if isinstance(value, tuple):
        return tuple(translate(path) for path in value)
    if isinstance(value, dict):
        return {key: translate(path) for key, path in value.items()}
    return translate(value)
