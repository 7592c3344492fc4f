"""What a lease is as a plan: a Job with an id of its own. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sep_launcher.library.leases import Lease
    from sep_launcher.planning.plan import Plan
    from sep_launcher.planning.workers import Worker
    from sep_protocol import Job


def part_of(plan: Plan, worker: Worker, lease: Lease) -> Plan:
    """Return the plan of a lease for its worker."""
    route, environment = worker.route, worker.environment
    return replace(plan, job=lease_job(plan, worker, lease), route=route, environment=environment)


def lease_job(plan: Plan, worker: Worker, lease: Lease) -> Job:
    """Return the Job of a lease.

    What an earlier attempt had finished counts as done, unless all is to be made again: then an old
    track of the same work cannot be told from it.
    """
    job = plan.job
    again = max(lease.attempts) > 1
    return replace(
        job,
        id=job_id(plan, lease),
        tracks=tuple(job.tracks[track] for track in lease.tracks),
        device=worker.device,
        precision=worker.precision,
        batch=1 if lease.careful else job.batch,
        output=replace(
            job.output, resume=job.output.resume or (again and not job.output.overwrite)
        ),
        tidy=False,  # this was done before the first lease
    )


def job_id(plan: Plan, lease: Lease) -> str:
    """Return the id of a lease's Job, which no other of the run has."""
    return f"{(int(plan.job.id, 16) + lease.number) % 2**32:08x}"
