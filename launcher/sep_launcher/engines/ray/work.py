"""What a worker is given: a Job, and what of its plan the node cannot know by itself."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sep_launcher.machine.storage import Entry
from sep_protocol import dump_job, load_job

if TYPE_CHECKING:
    from sep_launcher.planning.plan import Plan
    from sep_protocol import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A Job; the other fields are those of a `Plan`."""

    job: Job
    stems: tuple[str, ...] = ()
    sources: tuple[Entry, ...] = ()  # of the Job's tracks
    stage: Path | None = None
    stage_limit: int | None = None


def dump_work(plan: Plan) -> str:
    """Return the plan's work as JSON."""
    audio = [track.audio for track in plan.job.tracks]
    told = {
        "job": dump_job(plan.job, line=True),
        "stems": plan.stems,
        "sources": [asdict(plan.sources[each]) for each in audio if each in plan.sources],
        "stage": str(plan.stage) if plan.stage else None,
        "stage_limit": plan.stage_limit,
    }
    return json.dumps(told)


def load_work(text: str) -> Work:
    """Return what `dump_work` wrote."""
    told = json.loads(text)
    return Work(
        job=load_job(told["job"]),
        stems=tuple(told["stems"]),
        sources=tuple(Entry(**each) for each in told["sources"]),
        stage=Path(told["stage"]) if told["stage"] else None,
        stage_limit=told["stage_limit"],
    )
