"""What earlier runs tell of a new one's time: only of the same work, by the same workers."""

import json
import time
from pathlib import Path

import pytest

from sep_launcher.library import ledger, speeds, survey
from sep_launcher.library.shelf import Folder
from sep_launcher.planning import names
from sep_launcher.planning.plan import Plan
from sep_launcher.planning.route import Route
from sep_launcher.planning.workers import Worker
from sep_protocol import Job, Model, Output, Track

ROUTE = Route(engine="native", device="cpu", reason="", ready=True)


def worker(name, precision="fp32"):
    return Worker(
        name=name, device="cpu", route=ROUTE, place="", precision=precision, environment={}
    )


def plan(root, *names, identity="abc", batch=None, audio="/none", **facts):
    job = Job(
        id="00000000",
        tracks=(Track(audio=str(audio), out=str(Path(root, "song"))),),
        model=Model(name="m"),
        output=Output(),
        identity=identity,
        batch=batch,
    )
    return Plan(
        job=job,
        route=ROUTE,
        expects="",
        place="",
        stems=("kick", "snare"),
        environment={},
        workers=tuple(map(worker, names)),
        root=str(root),
        **facts,
    )


def ran(root, work, audio=7200.0, seconds=600.0, **facts):
    """Leave the ledger of a run that took so long."""
    job = Job(id="00000001", tracks=(), model=Model(name="m"))
    found = ledger.begin(Folder(Path(root, names.NOTES)), job, {}, work=work, take_over=True)
    found.state.audio = audio
    for name, value in facts.items():
        setattr(found.state, name, value)
    found.close(0)
    found.state.begun = found.state.ended - seconds
    found._write()
    return found.state


def test_the_run_before_tells(home, tmp_path):
    mine = plan(tmp_path, "cpu-1", "cpu-2")
    ran(tmp_path, speeds.work(mine))
    speed, whose = speeds.known(mine)
    assert speed == pytest.approx(12.0, rel=0.01)
    assert whose == "the run before"


@pytest.mark.parametrize(
    ("names", "facts"),
    [
        (("cpu-1",), {}),
        (("cuda:0", "cuda:1"), {}),
        (("cpu-1", "cpu-2"), {"identity": "other"}),
        (("cpu-1", "cpu-2"), {"identity": ""}),
        (("cpu-1", "cpu-2"), {"batch": 1}),
        (("cpu-1", "cpu-2"), {"elsewhere": True}),
        ((), {}),
    ],
)
def test_other_work_tells_nothing(home, tmp_path, names, facts):
    speeds.note(ran(tmp_path, speeds.work(plan(tmp_path, "cpu-1", "cpu-2"))))
    assert speeds.known(plan(tmp_path, *names, **facts)) is None


@pytest.mark.parametrize(
    "short", [{"audio": 59.0}, {"seconds": 9.0}, {"seconds": -50.0}, {"audio": float("nan")}]
)
def test_what_is_too_short_tells_nothing(home, tmp_path, short):
    mine = plan(tmp_path, "cpu-1")
    speeds.note(ran(tmp_path, speeds.work(mine), **short))
    assert speeds.known(mine) is None


def test_another_machine_tells_nothing_but_of_a_cluster(home, tmp_path):
    mine = plan(tmp_path, "cpu-1")
    ran(tmp_path, speeds.work(mine), host="elsewhere")
    assert speeds.known(mine) is None
    far = plan(tmp_path, "worker-1", elsewhere=True)
    ran(tmp_path, speeds.work(far), host="elsewhere")
    assert speeds.known(far)[1] == "the run before"


def test_a_run_that_was_killed_tells(home, tmp_path):
    mine = plan(tmp_path, "cpu-1")
    state = ran(tmp_path, speeds.work(mine))
    state.begun, state.ended, state.updated = time.time() - 3600, None, time.time() - 1800
    shelf = Folder(tmp_path / names.NOTES)
    shelf.write("run.1.json", ledger._text(state))
    assert speeds.known(mine)[0] == pytest.approx(4.0, rel=0.01)


def test_this_machine_tells_where_the_output_is_new(home, tmp_path):
    mine = plan(tmp_path / "a", "cpu-1")
    speeds.note(ran(tmp_path / "a", speeds.work(mine)))
    speeds.note(ran(tmp_path / "b", speeds.work(mine), seconds=1200.0))
    speed, whose = speeds.known(plan(tmp_path / "c", "cpu-1"))
    assert speed == pytest.approx(6.0, rel=0.01)  # the latest
    assert whose == "an earlier run on this machine"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"speed": "x"}', '{"speed": -1}', '{"speed": NaN}']
)
def test_a_note_that_is_none(home, tmp_path, text):
    mine = plan(tmp_path, "cpu-1")
    speeds.note(ran(tmp_path / "a", speeds.work(mine)))
    (kept,) = home.rglob("speeds/*.json")
    kept.write_text(text)
    assert speeds.known(mine) is None


def test_a_cache_that_cannot_be_written_ends_nothing(home, tmp_path, monkeypatch):
    mine = plan(tmp_path, "cpu-1")
    state = ran(tmp_path, speeds.work(mine))
    monkeypatch.setattr(speeds.paths, "cache", lambda: Path("/proc/nothing"))
    speeds.note(state)


def test_ledgers_of_before_are_read(tmp_path):
    ran(tmp_path, "x")
    path = tmp_path / names.NOTES / "run.1.json"
    old = json.loads(path.read_text())
    del old["work"]
    path.write_text(json.dumps(old))
    (state,) = ledger.states(Folder(tmp_path / names.NOTES))
    assert state.work == ""


def test_the_survey_says_it(home, tmp_path):
    song = tmp_path / "song.mp3"
    song.write_bytes(b"")
    with song.open("r+b") as file:
        file.truncate(32000 * 7200)
    mine = plan(tmp_path / "out", "cpu-1", audio=song)
    assert "speed" not in survey.look(mine, ()).text
    ran(tmp_path / "out", speeds.work(mine))
    told = survey.look(mine, ()).text
    assert "about 2 h 0 min of audio, " in told
    assert told.endswith("are free; about 10 min at the speed of the run before")
    assert "speed" not in survey.look(mine, (0,)).text  # nothing is left
