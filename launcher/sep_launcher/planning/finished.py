"""Which tracks of a plan are done already, by their reports alone: no audio is read.

What is not certain here is left to the runtime, which compares more and says what differs.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sep_launcher.planning import outputs
from sep_protocol import TrackDone, marks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from sep_launcher.planning.plan import Plan
    from sep_protocol import Event, Job

AT_ONCE = 64  # reports that are looked at: disks in a network take their time for each
SLICE = 16  # reports that a thread looks at before it takes others
BROKEN = (OSError, ValueError, LookupError, TypeError, AttributeError)


def look(plan: Plan) -> dict[int, TrackDone]:
    """Return the tracks that are done, by their indices in the Job; none unless it resumes.

    One is done where its report has the Job's identity, the mix's mark (`sep_protocol.marks`) and
    the names of the stems, and these are there with the sizes that it says.
    """
    job = plan.job
    if not (job.output.resume and job.identity) or job.output.verify or job.bench:
        return {}
    count = len(job.tracks)
    slices = [range(start, min(start + SLICE, count)) for start in range(0, count, SLICE)]
    pool = ThreadPoolExecutor(AT_ONCE, "report")
    try:
        found = list(pool.map(lambda indices: [_done(job, each) for each in indices], slices))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C waits for few reports
    return {each.track: each for some in found for each in some if each}


def left(plan: Plan, done: Collection[int]) -> list[int]:
    """Return the tracks that are not done."""
    return [index for index in range(len(plan.job.tracks)) if index not in done]


def part(plan: Plan, indices: Sequence[int]) -> Plan:
    """Return the plan of these tracks alone, in this order."""
    tracks = tuple(plan.job.tracks[index] for index in indices)
    sizes = tuple(plan.sizes[index] for index in indices) if plan.sizes else ()
    return replace(plan, job=replace(plan.job, tracks=tracks), sizes=sizes)


def renumbered(event: Event, indices: Sequence[int]) -> Event:
    """Return an event of a part's Job with the index that its track has in the whole."""
    track = getattr(event, "track", None)
    if track is None:
        return event
    return replace(event, track=indices[track])


def described(
    job: Job,
    index: int,
    report: Any,  # noqa: ANN401 (JSON)
    mark: Mapping[str, object],
    join: Callable[[str, str], str] = os.path.join,
) -> tuple[TrackDone, dict[str, int]] | None:
    """Return a track and the bytes of each of its files, if a report is of the work of this Job.

    `mark` is what the mix is known by, under the names that a report's `mix` has for it; `join`
    makes a file's path or address of that of its folder and its name. Pure. Raises one of BROKEN
    for what is no report.
    """
    track = job.tracks[index]
    said, mix = report["settings"], report["mix"]
    if report["identity"] != job.identity or said["stem_name"] != track.stem_name:
        return None
    if not marks.is_same(mix, mark, track.shown):
        return None
    stems = {
        str(stem): join(track.out, os.path.basename(each["file"]))  # noqa: PTH119 (a text)
        for stem, each in report["stems"].items()
    }
    done = TrackDone(
        track=index,
        out=track.out,
        stems=stems,
        frames=int(report["frames"]),
        sample_rate=int(report["sample_rate"]),
        chunk=int(said["chunk"]),
        hop=int(said["hop"]),
        chunks=0,
        seconds=0.0,
        resumed=True,
    )
    sizes = {stems[stem]: int(each["bytes"]) for stem, each in report["stems"].items()}
    return (done, sizes) if sizes else None


def _done(job: Job, index: int) -> TrackDone | None:
    track = job.tracks[index]
    try:
        report = _report(Path(track.out, track.report))
        found = described(job, index, report, marks.mark(track.audio))
        if found and all(os.stat(file).st_size == size for file, size in found[1].items()):  # noqa: PTH116
            return found[0]
    except (*BROKEN, RecursionError):
        pass
    return None


def _report(path: Path) -> Any:  # noqa: ANN401 (JSON)
    with path.open("rb") as file:
        found = file.read(outputs.REPORT_BYTES + 1)
    if len(found) > outputs.REPORT_BYTES:
        raise ValueError("it is no report")
    return json.loads(found)
