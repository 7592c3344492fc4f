"""What a run would read and write; looks and touches nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sep_launcher.machine import disk, storage
from sep_launcher.planning import remote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sep_launcher.machine.storage import Entry
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
    found = []
    stored = remote.listings(plan.job.tracks)
    for track in plan.job.tracks:
        files = _files(track, plan)
        action = _action(track, files, plan.job.output, stored)
        mix = track.shown or track.audio
        found.append(Preview(mix=mix, out=track.out, files=files, action=action))
    return found


def _files(track: Track, plan: Plan) -> tuple[str, ...]:
    ending = plan.job.output.format
    return tuple(f"{track.file_of(stem)}.{ending}" for stem in plan.stems)


def _action(
    track: Track, files: tuple[str, ...], output: Output, stored: Mapping[str, list[Entry]]
) -> Action:
    if storage.is_url(track.out):
        there = {storage.name(each.url) for each in stored[track.out]}
        ours = {*files, track.report} & there if track.shared else there
        taken, report = bool(ours), track.report in there
    else:
        taken, report = _on_disk(track, files)
    if not taken:
        return "separate"
    if output.resume and report:
        return "resume"
    return "replace" if output.overwrite else "refuse"


def _on_disk(track: Track, files: tuple[str, ...]) -> tuple[bool, bool]:
    """Say whether anything is in a track's place, and whether a report is."""
    folder = Path(track.out)
    if track.shared:
        taken = any(disk.exists(folder / each) for each in (*files, track.report))
    else:
        taken = disk.exists(folder) and not _is_empty(folder)
    return taken, disk.is_file(folder / track.report)


def _is_empty(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except OSError:
        return False
