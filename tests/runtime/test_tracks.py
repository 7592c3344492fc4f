"""A track is whole or not there, whatever ends the process, and nothing of the user's is lost."""

import json
import subprocess
import sys

import pytest

from sep_protocol.errors import TrackError
from sep_runtime.tracks import Workspace, sweep


def fill(work, text="new"):
    (work.new / "kick.wav").write_text(text)


def report(text="new"):
    return {"made": text, "stems": {"kick": {"file": "kick.wav"}}}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def make(out, text="new", job="job"):
    work = Workspace(out, job, 0)
    fill(work, text)
    work.commit(report(text), ["kick.wav"])
    work.discard()


def test_commit_gives_stems_and_report_together(tmp_path):
    make(tmp_path / "out" / "song")
    assert names(tmp_path / "out") == ["song"]
    assert names(tmp_path / "out" / "song") == ["kick.wav", "sep.json"]
    assert json.loads((tmp_path / "out" / "song" / "sep.json").read_text())["made"] == "new"


def test_discard_leaves_nothing(tmp_path):
    work = Workspace(tmp_path / "song", "job", 0)
    fill(work)
    work.discard()
    assert names(tmp_path) == []


def test_replacing_keeps_what_the_user_put_there(tmp_path):
    out = tmp_path / "song"
    make(out, "old")
    (out / "my notes.txt").write_text("mine")
    (out / "session").mkdir()
    make(out, "new")
    assert (out / "kick.wav").read_text() == "new"
    assert (out / "my notes.txt").read_text() == "mine"
    assert (out / "session").is_dir()
    assert names(tmp_path) == ["song"]


def test_stems_that_are_no_longer_made_go_with_the_old_track(tmp_path):
    out = tmp_path / "song"
    work = Workspace(out, "one", 0)
    (work.new / "snare.wav").write_text("old")
    work.commit({"stems": {"snare": {"file": "snare.wav"}}}, ["snare.wav"])
    work.discard()
    make(out)
    assert names(out) == ["kick.wav", "sep.json"]


DIES = """
import os, sys
from pathlib import Path
from sep_runtime import tracks
out, moment = Path(sys.argv[1]), int(sys.argv[2])
work = tracks.Workspace(out, "dead", 0)
(work.new / "kick.wav").write_text("new")
calls = 0
def die(*args, real):
    global calls
    if calls == moment:
        os.kill(os.getpid(), 9)
    calls += 1
    return real(*args)
rename, fsync = Path.rename, os.fsync
Path.rename = lambda self, to: die(self, to, real=rename)
os.fsync = lambda file: die(file, real=fsync)
work.commit({"stems": {"kick": {"file": "kick.wav"}}}, ["kick.wav"])
work.discard()
"""


@pytest.mark.parametrize("moment", range(6))
@pytest.mark.parametrize("before", [False, True])
def test_death_at_any_step_of_a_commit(tmp_path, moment, before):
    out = tmp_path / "song"
    if before:
        make(out, "old")
        (out / "notes.txt").write_text("mine")
    died = subprocess.run([sys.executable, "-c", DIES, str(out), str(moment)], check=False)
    assert died.returncode in (0, -9)
    sweep(tmp_path)
    left = names(tmp_path)
    assert left in ([], ["song"])
    assert left or not before
    if left:
        wanted = {"kick.wav", "sep.json"} | ({"notes.txt"} if before else set())
        assert set(names(out)) == wanted
        stem = (out / "kick.wav").read_text()
        assert stem == "new" or (before and stem == "old")
        if not before:
            assert stem == "new"


def test_the_dead_are_swept_and_the_living_left_alone(tmp_path):
    alive = Workspace(tmp_path / "a", "alive", 0)
    dead = tmp_path / ".sep-dead-0"
    (dead / "new").mkdir(parents=True)
    (dead / "lock").touch()
    (tmp_path / ".sep-music-of-mine").mkdir()  # looks like ours, has no lock
    sweep(tmp_path)
    assert names(tmp_path) == [".sep-alive-0", ".sep-music-of-mine"]
    alive.discard()


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TrackError, match="cannot be written"):
        Workspace(tmp_path / "file" / "song", "job", 0)


def test_lock_is_let_go_by_any_death(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from sep_runtime.tracks import Workspace\n"
        "w = Workspace(Path(sys.argv[1]), 'x', 0); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "song")], check=False)
    assert names(tmp_path) == [".sep-x-0"]
    sweep(tmp_path)
    assert names(tmp_path) == []
