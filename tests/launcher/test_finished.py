"""Reports to tracks that are done; parts of a Job, and their events in its numbers."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sep_launcher.planning.finished import BROKEN, described, look, part, renumbered
from sep_protocol import Bench, Done, Job, Model, Output, Phase, Progress, Track, TrackDone, marks


@dataclass(frozen=True)
class Plan:
    job: Job
    sizes: tuple = ()


@pytest.fixture
def plan(tmp_path):
    """A plan of a hundred tracks, each done."""
    tracks = []
    for number in range(100):
        track = Track(audio=str(tmp_path / f"{number}.wav"), out=str(tmp_path / f"{number}"))
        Path(track.audio).write_bytes(b"mix")
        Path(track.out).mkdir()
        Path(track.out, "kick.wav").write_bytes(b"kick")
        Path(track.out, "sep.json").write_text(json.dumps(report(track)))
        tracks.append(replace(track, shown=track.audio))
    job = Job(id="0a1b2c3d", tracks=tuple(tracks), model=Model(name="x"), identity="same")
    return Plan(job=replace(job, output=Output(resume=True)))


def report(track):
    return {
        "identity": "same",
        "mix": {"path": track.audio, "sha256": "0", **marks.mark(track.audio)},
        "settings": {"stem_name": "{stem}", "chunk": 4, "hop": 2},
        "stems": {"kick": {"file": "kick.wav", "bytes": 4}},
        "frames": 9,
        "sample_rate": 44100,
    }


def test_all_that_are_done_are_found_in_their_order(plan):
    Path(plan.job.tracks[7].out, "kick.wav").write_bytes(b"")
    Path(plan.job.tracks[63].out, "sep.json").unlink()
    os.utime(plan.job.tracks[64].audio, ns=(0, 1))
    found = look(plan)
    assert list(found) == [each for each in range(100) if each not in (7, 63, 64)]
    assert found[99].stems == {"kick": str(Path(plan.job.tracks[99].out, "kick.wav"))}
    assert all(each.resumed and each.track == index for index, each in found.items())


@pytest.mark.parametrize(
    "change",
    [
        {"output": Output()},
        {"output": Output(resume=True, verify=True)},
        {"identity": ""},
        {"identity": "other"},
        {"bench": Bench()},
    ],
    ids=str,
)
def test_none_is_done_unless_it_resumes_the_same_work(plan, change):
    assert look(Plan(job=replace(plan.job, **change))) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"identity": None},
        {"settings": {}},
        {"settings": {"stem_name": "x {stem}", "chunk": 4, "hop": 2}},
        {"stems": {}},
        {"stems": []},
        {"stems": {"kick": {"file": 1, "bytes": 4}}},
        {"frames": "many"},
        {"frames": -1},
        {"sample_rate": 0},
        {"mix": None},
    ],
    ids=str,
)
def test_what_is_no_report_of_ours_describes_nothing(plan, change):
    track = plan.job.tracks[0]
    said = report(track)
    mark = marks.mark(track.audio)
    assert described(plan.job, 0, said, mark)
    try:
        found = described(plan.job, 0, {**said, **change}, mark)
    except BROKEN:
        found = None
    assert found is None


def test_a_stem_is_looked_for_in_its_own_folder_alone(plan):
    track = plan.job.tracks[0]
    said = {**report(track), "stems": {"kick": {"file": "../../etc/kick.wav", "bytes": 4}}}
    done, sizes = described(plan.job, 0, said, marks.mark(track.audio))
    assert list(sizes) == list(done.stems.values()) == [str(Path(track.out, "kick.wav"))]


def test_a_part_and_its_events(plan):
    indices = [5, 99, 3]
    assert [Path(each.out).name for each in part(plan, indices).job.tracks] == ["5", "99", "3"]
    progress = Progress(track=1, done=1, total=2, sample_rate=44100)
    assert renumbered(progress, indices).track == 99
    assert renumbered(Phase(name="load"), indices) == Phase(name="load")
    assert renumbered(Done(done=3, failed=0, seconds=1.0), indices).done == 3
    done = TrackDone(
        track=2, out="", stems={}, frames=1, sample_rate=1, chunk=1, hop=1, chunks=0, seconds=0.0
    )
    assert renumbered(done, indices).track == 3
