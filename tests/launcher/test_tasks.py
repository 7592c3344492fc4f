"""A lease as a Job: what a second attempt may take for done."""

from __future__ import annotations

import pytest

from sep_launcher.library.leases import Lease
from sep_launcher.library.tasks import lease_job, part_of
from sep_launcher.planning.plan import Plan
from sep_launcher.planning.route import ELSEWHERE
from sep_launcher.planning.workers import Worker
from sep_protocol import Job, Model, Output, Track

WORKER = Worker(
    name="w", device="cuda:1", route=ELSEWHERE, place="", precision="fp16", environment={"A": "1"}
)


def plan(**output):
    tracks = tuple(Track(audio=f"/m/{n}.wav", out=f"/o/{n}") for n in range(3))
    job = Job(id="ffffffff", tracks=tracks, model=Model(name="m"), output=Output(**output))
    return Plan(job=job, route=ELSEWHERE, expects="", place="", stems=(), environment={})


def lease(attempt=1, number=1, **more):
    return Lease(number=number, worker="w", node="n", tracks=(2, 0), attempts=(1, attempt), **more)


@pytest.mark.parametrize(
    ("attempt", "output", "resumes"),
    [
        (1, {}, False),
        (2, {}, True),
        (1, {"resume": True}, True),
        # An old track of the same work is what the user wants to be made again.
        (2, {"overwrite": True}, False),
        (2, {"overwrite": True, "resume": True}, True),
    ],
)
def test_what_counts_as_done(attempt, output, resumes):
    assert lease_job(plan(**output), WORKER, lease(attempt)).output.resume is resumes


def test_a_leases_job():
    made = part_of(plan(), WORKER, lease(careful=True))
    assert [each.audio for each in made.job.tracks] == ["/m/2.wav", "/m/0.wav"]
    assert (made.job.device, made.job.precision, made.job.batch) == ("cuda:1", "fp16", 1)
    assert made.environment == {"A": "1"}
    assert not made.job.tidy
    ids = {lease_job(plan(), WORKER, lease(number=n)).id for n in range(1, 100)}
    assert len(ids) == 99
