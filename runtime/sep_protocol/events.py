"""The Events: what the runtime says, one JSON object per line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from sep_protocol.codec import FormError, decode
from sep_protocol.errors import ExitCode
from sep_protocol.job import path_field
from sep_protocol.version import PROTOCOL, __version__


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Always the first, before anything heavy is imported, so a mismatch fails before any work."""

    job: str
    version: str = __version__
    protocol: int = PROTOCOL
    code: str = ""  # digest of its code; empty: not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A phase begins: import, load, separate (of a track), bench (of one scheme, once)."""

    name: str
    track: int | None = None  # index in the Job
    detail: str = ""  # for people

    def __post_init__(self) -> None:
        """Raise ValueError for what no runtime of ours says."""
        _check_counts(self.track or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceChosen:
    """The device that the runtime really uses."""

    requested: str
    device: str
    name: str  # of the processor, for people
    torch: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLoaded:
    """A model is on the device, and how its network will run there is decided."""

    model: str = ""  # its name
    precision: str  # fp32, fp16 or bf16
    batch: int  # chunks at once
    snr: float | None = (
        None  # dB beside plain fp32, of the worst stem; None: as exact, or not known
    )
    ways: tuple[str, ...] = ()  # fast ways in use beside the plain operators


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How much of a track's work is done, told as frames of its own sample rate."""

    track: int
    done: int
    total: int  # 0: not known
    sample_rate: int  # Hz

    def __post_init__(self) -> None:
        """Raise ValueError for what no runtime of ours says."""
        _check_counts(self.track, self.done, self.total, self.sample_rate - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """The shape of a piece of a stem, only if the Job asks for it: what is drawn as a waveform."""

    track: int
    stem: str
    first: int  # index of the first pair in the track
    pairs: str  # base64: signed bytes, the least and the greatest sample by turns; 127: full scale

    def __post_init__(self) -> None:
        """Raise ValueError for what no runtime of ours says."""
        _check_counts(self.track, self.first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """Something the user should know that stops nothing."""

    message: str  # `{path}` in it stands for the path
    track: int | None = None
    path: str | None = path_field(default=None)

    def __post_init__(self) -> None:
        """Raise ValueError for what no runtime of ours says."""
        _check_counts(self.track or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """The job goes on with less than was hoped for."""

    was: str
    now: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackDone:
    """A track's stems are whole on the disk."""

    track: int
    out: str = path_field()
    stems: dict[str, str] = path_field()  # name -> file
    frames: int
    sample_rate: int
    chunk: int  # samples at the model's rate that the network saw at once
    hop: int  # samples between chunks
    chunks: int  # how many the network saw
    seconds: float  # wall time of this track
    phases: dict[str, float] = field(default_factory=dict)
    clipped: dict[str, int] = field(default_factory=dict)  # stem -> samples
    resumed: bool = False  # an earlier job had done it

    def __post_init__(self) -> None:
        """Raise ValueError for what no runtime of ours says."""
        _check_counts(self.track, self.frames, self.chunks, self.sample_rate - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackFailed:
    """A track is given up; nothing of it is left on the disk."""

    track: int
    error: str  # the class of `sep_protocol.errors`
    message: str  # `{path}` in it stands for the path
    hint: str = ""
    path: str | None = path_field(default=None)

    def __post_init__(self) -> None:
        """Raise ValueError for what no runtime of ours says."""
        _check_counts(self.track)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The medians of one scheme."""

    scheme: str  # sep, or a baseline: demix, uvr
    seconds: float
    real_time: float  # seconds of audio per second
    chunks: int  # that the network saw
    ratio: float  # of its time to that of sep


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What was chosen for one shape of one operator."""

    operator: str
    shape: str  # for people
    way: str  # that is taken
    plain_ms: float  # milliseconds of the plain operator
    ms: float  # milliseconds of the way that is taken
    error: float  # relative to the plain operator's result


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Operators of one kind, or the time between operators."""

    group: str
    seconds: float
    share: float  # of the whole pass, 0 to 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator or kernel, all its calls together."""

    name: str
    group: str
    calls: int
    seconds: float  # of its own, without the operators that it calls
    share: float  # of the whole pass, 0 to 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiled:
    """Where the time of one pass goes, measured with the profiler's own cost in it."""

    seconds: float  # of the whole pass
    side: str  # whose operators are listed: cpu or cuda
    groups: tuple[Share, ...]  # the largest first
    operators: tuple[Operator, ...]  # the largest first; the smallest are left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Benched:
    """What a bench found."""

    model: str
    device: str
    audio_seconds: float
    runs: int
    chunk: int
    hop: int
    peak_memory: int  # bytes of the runtime's process at most; 0: not known
    measured: tuple[Measured, ...]
    gpu_memory: int = 0  # bytes of the GPU at most; 0: none, or not known
    threads: int = 0  # of the processor that torch uses; 0: not known
    snr: float | None = None  # dB beside plain CPU fp32, of the worst stem; None: not measured
    phases: dict[str, float] = field(default_factory=dict)  # seconds: of the start, and of a pass
    tuning: tuple[Tuned, ...] = ()
    profile: Profiled | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Always the last, if the job went through; tracks may have failed."""

    done: int
    failed: int
    seconds: float
    phases: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Always the last, if the job did not go through."""

    code: int
    error: str
    message: str  # `{path}` in it stands for the path
    hint: str = ""
    path: str | None = path_field(default=None)

    def __post_init__(self) -> None:
        """Raise ValueError for a code that is no failure's."""
        if ExitCode(self.code) == ExitCode.OK:
            raise ValueError("a failure has no exit code 0")


Event = (
    Hello
    | Phase
    | DeviceChosen
    | ModelLoaded
    | Progress
    | Peaks
    | Warned
    | Fallback
    | TrackDone
    | TrackFailed
    | Benched
    | Done
    | Failed
)

_KINDS: dict[str, type[Event]] = {
    "hello": Hello,
    "phase": Phase,
    "device": DeviceChosen,
    "loaded": ModelLoaded,
    "progress": Progress,
    "peaks": Peaks,
    "warning": Warned,
    "fallback": Fallback,
    "track-done": TrackDone,
    "track-failed": TrackFailed,
    "benched": Benched,
    "done": Done,
    "failed": Failed,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def _check_counts(*counts: int) -> None:
    if min(counts) < 0:
        raise ValueError("a count or an index is less than it can be")


def dump_event(event: Event, **about: object) -> str:
    """Return the event as one line of JSON, without its end of line; ASCII, see `dump_job`.

    `about` are facts beside the event's own, as which of many Jobs it is of.
    """
    return json.dumps({"event": _NAMES[type(event)], **about, **asdict(event)})


def load_event(line: str) -> Event | None:
    """Parse one line; None for a kind of event that this version does not know.

    Raises FormError where the line is no event at all.
    """
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError) as fault:
        raise FormError(f"not JSON: {line[:80]!r}") from fault
    if not isinstance(raw, dict) or not isinstance(raw.get("event"), str):
        raise FormError(f"not an event: {line[:80]!r}")
    kind = _KINDS.get(raw["event"])
    return decode(kind, raw) if kind else None
