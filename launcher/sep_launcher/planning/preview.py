"""What a run would read and write; looks and touches nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sep_launcher.machine import disk
from sep_protocol import REPORT

if TYPE_CHECKING:
    from sep_launcher.planning.plan import Plan
    from sep_protocol import Output, Track

# resume: stems are left where they are of the same mix, model and settings.
Action = Literal["separate", "resume", "replace", "refuse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One track as a run would do it."""

    mix: str
    out: str  # the folder of its stems
    files: tuple[str, ...]  # the names in it; none: only the checkpoint knows its stems
    action: Action


def preview(plan: Plan) -> list[Preview]:
    """Return what would be done, in the Job's order."""
    return [
        Preview(
            mix=track.shown or track.audio,
            out=track.out,
            files=_files(track, plan),
            action=_action(Path(track.out), plan.job.output),
        )
        for track in plan.job.tracks
    ]


def _files(track: Track, plan: Plan) -> tuple[str, ...]:
    ending = plan.job.output.format
    return tuple(f"{track.file_of(stem)}.{ending}" for stem in plan.stems)


def _action(folder: Path, output: Output) -> Action:
    if not disk.exists(folder) or _is_empty(folder):
        return "separate"
    if output.resume and disk.is_file(folder / REPORT):
        return "resume"
    return "replace" if output.overwrite else "refuse"


def _is_empty(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except OSError:
        return False
