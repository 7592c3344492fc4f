"""What a run did, gathered from its route and events: the document of `--json`."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from sep_protocol import (
    DeviceChosen,
    Done,
    Failed,
    Fallback,
    ModelLoaded,
    TrackDone,
    TrackFailed,
    Warned,
)
from sep_protocol.errors import ExitCode, InterruptedJob, SepError
from sep_protocol.version import __version__

if TYPE_CHECKING:
    from sep_launcher.planning.plan import Plan
    from sep_launcher.planning.preview import Preview
    from sep_launcher.planning.workers import By
    from sep_launcher.show.finding import Finding
    from sep_protocol import Event

LESS = ("batch ", "one model ")  # how steps down begin that are no failures
SCHEMA = 1  # of all documents; a field is never renamed or taken away under the same number


@dataclass(kw_only=True)
class Staff:
    """A worker, where there are several."""

    node: str = ""
    device: DeviceChosen | None = None


@dataclass(kw_only=True)
class Report:
    """The state of a run; grows with every event."""

    plan: Plan | None = None
    device: DeviceChosen | None = None
    loaded: dict[str, ModelLoaded] = field(default_factory=dict)  # by name, in their order
    tracks: dict[int, TrackDone | TrackFailed] = field(default_factory=dict)
    workers: dict[str, Staff] = field(default_factory=dict)  # by name; none: one runtime
    by: dict[int, By] = field(default_factory=dict)  # who said how a track ended
    warnings: list[str] = field(default_factory=list)
    fallbacks: list[Fallback] = field(default_factory=list)
    command: str = ""  # of a dry run
    previews: list[Preview] | None = None  # of a dry run
    refused: dict[str, Any] | None = None  # why a run would not begin, of a dry run
    done: Done | None = None
    error: dict[str, Any] | None = None
    findings: list[Finding] = field(default_factory=list)  # of the rules, behind what failed
    exit_code: int = ExitCode.OK
    seconds: float = 0.0  # wall time of the whole command

    def begin(self, plan: Plan) -> None:
        """Note what will be done, and by whom."""
        self.plan = plan
        self.workers = {each.name: Staff() for each in plan.workers}

    def take(self, event: Event, by: By | None = None) -> None:
        """Note what the event says, and who said it."""
        if by is not None:
            self._take_by(event, by)
        match event:
            case DeviceChosen():
                self.device = event
            case ModelLoaded():
                own = self.plan.job.model.name if self.plan else ""
                self.loaded[event.model or own] = event
            case TrackDone() | TrackFailed():
                self.tracks[event.track] = event
            case Warned():
                self.warnings.append(event.message)
            case Fallback():
                self.fallbacks.append(event)
            case Done():
                self.done = event
                if event.failed:
                    self.exit_code = ExitCode.TRACK_FAILED
            case Failed():
                self._set(event.code, event.error, event.message, event.hint)
            case _:
                pass

    def _take_by(self, event: Event, by: By) -> None:
        """Note who said it."""
        staff = self.workers.setdefault(by.worker.name, Staff())
        staff.node = by.node
        if isinstance(event, DeviceChosen):
            staff.device = event
        if isinstance(event, TrackDone | TrackFailed):
            self.by[event.track] = by

    def fail(self, fault: SepError) -> None:
        """Note what ended the run."""
        if self.error is None or isinstance(fault, InterruptedJob):
            self._set(fault.code, type(fault).__name__, fault.message, fault.command)

    def preview(self, found: list[Preview], fault: SepError | None) -> None:
        """Note what a dry run found."""
        self.previews = found
        if fault:
            name = type(fault).__name__
            self.refused = _error(fault.code, name, fault.message, fault.command)

    def _set(self, code: int, error: str, message: str, hint: str) -> None:
        self.exit_code = code
        self.error = _error(code, error, message, hint)

    @property
    def last_word(self) -> Done | Failed:
        """How the stream of events ends."""
        if self.error:
            return Failed(**self.error)
        return self.done or Done(done=0, failed=0, seconds=self.seconds)

    @property
    def is_joint(self) -> bool:
        """Say whether several models work together."""
        return self.plan is not None and len(self.plan.job.models) > 1

    @property
    def running(self) -> ModelLoaded | None:
        """How the model runs; of several, the first of those that make the stems."""
        name = self.plan.job.model.name if self.plan else ""
        return self.loaded.get(name) or next(reversed(self.loaded.values()), None)

    @property
    def failures(self) -> list[str]:
        """What failed, in the words that were shown; nothing for what the user did."""
        told = [each.message for each in self.tracks.values() if isinstance(each, TrackFailed)]
        told += [each.reason for each in self.fallbacks if not each.now.startswith(LESS)]
        if self.error and self.error["code"] not in (ExitCode.USAGE, ExitCode.INTERRUPTED):
            told.append(str(self.error["message"]))
        return told

    def mix_of(self, track: int) -> str:
        """Return the path of a track's mix."""
        return self.plan.job.tracks[track].audio if self.plan else ""

    def shown(self, track: int) -> str:
        """Return what people call a track's mix."""
        return (self.plan.job.tracks[track].shown if self.plan else "") or self.mix_of(track)

    @property
    def count(self) -> int:
        """How many tracks there are."""
        return len(self.plan.job.tracks) if self.plan else 0

    @property
    def is_batch(self) -> bool:
        """Say whether there are several tracks."""
        return self.count > 1

    @property
    def folder(self) -> str:
        """The folder that all stems are below; empty where there is none."""
        try:
            outs = [track.out for track in self.plan.job.tracks] if self.plan else []
            scheme, mark, _ = outs[0].partition("://") if outs else ("", "", "")
            if mark:  # a common path has no two slashes together
                rest = [each.partition("://")[2] for each in outs]
                return f"{scheme}://{os.path.commonpath(rest)}"
            return os.path.commonpath(outs)
        except ValueError:
            return ""

    def document(self) -> dict[str, Any]:
        """Return the one document that `--json` prints."""
        job = self.plan.job if self.plan else None
        route = self.plan.route if self.plan else None
        return {
            "schema": SCHEMA,
            "sep": __version__,
            "exit_code": int(self.exit_code),
            "error": self.error,
            "route": asdict(route) if route else None,
            "model": job.called if job else None,
            "models": [{"name": name, **_way(each)} for name, each in self.loaded.items()],
            "device": self._device(),
            "workers": [
                {"name": name, "node": each.node, "device": each.device and each.device.device}
                for name, each in self.workers.items()
            ],
            "fallbacks": [asdict(each) for each in self.fallbacks],
            "warnings": self.warnings,
            "tracks": [
                {
                    "mix": self.mix_of(index),
                    "done": isinstance(each, TrackDone),
                    **{key: value for key, value in asdict(each).items() if key != "track"},
                    **(self.by[index].facts() if index in self.by else {}),
                }
                for index, each in sorted(self.tracks.items())
            ],
            **({"dry_run": self._dry_run()} if self.previews is not None else {}),
            **({"command": self.command} if self.command else {}),
            "phases": self.done.phases if self.done else {},
            "findings": [asdict(each) for each in self.findings],
            "seconds": self.seconds,
        }

    def _device(self) -> dict[str, Any] | None:
        if self.device is None:
            return None
        return {**asdict(self.device), **_way(self.running)}

    def _dry_run(self) -> dict[str, Any]:
        return {
            "tracks": [asdict(each) for each in self.previews or ()],
            "refused": self.refused,
        }


def _way(running: ModelLoaded | None) -> dict[str, Any]:
    """Return how a network runs."""
    return {
        "precision": running.precision if running else None,
        "batch": running.batch if running else None,
        "snr": running.snr if running else None,
        "ways": running.ways if running else (),
    }


def _error(code: int, error: str, message: str, hint: str) -> dict[str, Any]:
    return {"code": int(code), "error": error, "message": message, "hint": hint}
