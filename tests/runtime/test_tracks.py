"""A track is whole or not there, whatever ends the process, and nothing of the user's is lost."""

import json
import os
import subprocess
import sys
import time

import pytest

from sep_protocol.errors import TrackError
from sep_runtime import tracks
from sep_runtime.tracks import Workspace, sweep

JOB = "0a1b2c3d"
DEAD = f".sep-{JOB}-0"


def fill(work, text="new"):
    (work.new / "kick.wav").write_text(text)


def report(text="new"):
    return {"made": text, "stems": {"kick": {"file": "kick.wav"}}}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def make(out, text="new", job=JOB):
    work = Workspace(out, job, 0)
    fill(work, text)
    assert work.commit(report(text), ["kick.wav"], replace=True) == ""
    assert work.discard() is None


def plant(parent, *, note=None, old=None, name=DEAD):
    """A hidden folder as a dead job could have left it, or as somebody else could plant it."""
    root = parent / name
    root.mkdir(mode=0o700)
    (root / "lock").touch()
    if note is not None:
        (root / "note").write_text(note if isinstance(note, str) else json.dumps(note))
    if old is not None:
        (root / "old").mkdir()
        for file, text in old.items():
            (root / "old" / file).write_text(text)
    return root


def test_commit_gives_stems_and_report_together(tmp_path):
    make(tmp_path / "out" / "song")
    assert names(tmp_path / "out") == ["song"]
    assert names(tmp_path / "out" / "song") == ["kick.wav", "sep.json"]
    assert json.loads((tmp_path / "out" / "song" / "sep.json").read_text())["made"] == "new"


def test_discard_leaves_nothing(tmp_path):
    work = Workspace(tmp_path / "song", JOB, 0)
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
    work = Workspace(out, JOB, 0)
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
work = tracks.Workspace(out, "0000dead", 0)
(work.new / "kick.wav").write_text("new")
calls = 0
def dying(real):
    def step(*args, **options):
        global calls
        if calls == moment:
            os.kill(os.getpid(), 9)
        calls += 1
        return real(*args, **options)
    return step
for owner, name in ((Path, "rename"), (Path, "unlink"), (os, "fsync"), (os, "rmdir")):
    setattr(owner, name, dying(getattr(owner, name)))
work.commit({"stems": {"kick": {"file": "kick.wav"}}}, ["kick.wav"], replace=True)
work.discard()
"""


@pytest.mark.parametrize("before", [False, True])
def test_death_at_any_step_of_a_commit(tmp_path, before):
    for moment in range(40):
        out = tmp_path / str(moment) / "song"
        if before:
            make(out, "old")
            (out / "notes.txt").write_text("mine")
        died = subprocess.run([sys.executable, "-c", DIES, str(out), str(moment)], check=False)
        assert died.returncode in (0, -9)
        assert sweep(out.parent) == []
        left = names(out.parent) if out.parent.exists() else []
        assert left in ([], ["song"])
        assert left or not before
        if left:
            wanted = {"kick.wav", "sep.json"} | ({"notes.txt"} if before else set())
            assert set(names(out)) == wanted
            assert (out / "kick.wav").read_text() in (("new", "old") if before else ("new",))
        if died.returncode == 0:
            break
    assert 5 < moment < 39


def test_the_dead_are_swept_and_the_living_left_alone(tmp_path):
    alive = Workspace(tmp_path / "a", "0000a11f", 0)
    (plant(tmp_path) / "new").mkdir()
    (tmp_path / ".sep-music-of-mine").mkdir()
    assert sweep(tmp_path) == []
    assert names(tmp_path) == [".sep-0000a11f-0", ".sep-music-of-mine"]
    alive.discard()


def test_a_folder_without_its_lock_is_swept(tmp_path):
    """A sweep that could not remove all let it go."""
    root = plant(tmp_path)
    (root / "lock").unlink()
    (root / "new").mkdir()
    assert sweep(tmp_path) == []
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "note",
    [
        "",
        "{",
        "[]",
        {"out": "song"},
        {"replaced": []},
        {"out": 1, "replaced": []},
        {"out": ["a"], "replaced": []},
        {"out": {}, "replaced": []},
        {"out": "song", "replaced": [["a"]]},
        {"out": "song", "replaced": 1},
        {"out": "a\nb\x1b[31m", "replaced": []},
        {"out": "", "replaced": []},
        {"out": "..", "replaced": []},
        {"out": "../victim", "replaced": []},
        {"out": "/victim", "replaced": []},
        {"out": "a/b", "replaced": []},
        {"out": "a\\b", "replaced": []},
        {"out": "a\0b", "replaced": []},
        {"out": ".sep-00000000-0", "replaced": []},
        None,
        "[" * 100_000,
    ],
    ids=lambda note: str(note)[:30],
)
def test_a_note_that_cannot_be_ours_is_left_and_told(tmp_path, note):
    out = tmp_path / "out"
    out.mkdir()
    root = plant(out, note=note, old={"letter.txt": "mine"})
    (left,) = sweep(out)
    assert left.path == root
    assert "note" in left.why
    assert (root / "old" / "letter.txt").read_text() == "mine"
    assert names(tmp_path) == ["out"]
    assert names(out) == [DEAD]
    make(out / "song", job="00000001")  # it stops nobody


@pytest.mark.parametrize("what", ["root", "old", "new", "lock", "note", "out"])
def test_no_link_is_followed(tmp_path, what):
    """Whoever can write the folder cannot have things moved, emptied or removed elsewhere."""
    out, docs = tmp_path / "out", tmp_path / "docs"
    out.mkdir()
    docs.mkdir()
    (docs / "letter.txt").write_text("mine")
    (docs / "note").write_text(json.dumps({"out": "victim", "replaced": []}))
    root = plant(out, note={"out": "victim", "replaced": ["letter.txt"]}, old={"a.txt": "x"})
    victim = {"root": out / ".sep-00000001-0", "out": out / "victim"}.get(what, root / what)
    if victim.is_dir():
        (victim / "a.txt").unlink()
        victim.rmdir()
    else:
        victim.unlink(missing_ok=True)
    victim.symlink_to(docs / ("letter.txt" if what == "lock" else "note" if what == "note" else ""))
    before = {path.name: path.read_text() for path in docs.iterdir()}
    lefts = sweep(out)
    assert [left.path for left in lefts] == [victim if what == "root" else root]
    assert {path.name: path.read_text() for path in docs.iterdir()} == before
    assert victim.is_symlink()


def test_a_lock_that_is_somebodys_file_keeps_its_content(tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("mine")
    root = plant(tmp_path)
    (root / "lock").unlink()
    os.link(mine, root / "lock")
    sweep(tmp_path)
    assert mine.read_text() == "mine"


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="only root can give files away")
def test_what_belongs_to_another_user_is_not_believed(tmp_path):
    root = plant(tmp_path, note={"out": "song", "replaced": []}, old={"kick.wav": "theirs"})
    os.chown(root, 12345, 12345)
    (left,) = sweep(tmp_path)
    assert (left.path, left.why) == (root, "it is not ours")
    assert names(tmp_path) == [DEAD]


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="only root can give files away")
def test_a_track_that_another_user_made_is_replaced_like_ones_own(tmp_path):
    out = tmp_path / "song"
    make(out, "old")
    (out / "notes.txt").write_text("theirs")
    os.chown(out, 12345, 12345)
    make(out)
    assert names(out) == ["kick.wav", "notes.txt", "sep.json"]
    assert names(tmp_path) == ["song"]


def test_strange_things_in_a_hidden_folder_stay(tmp_path):
    root = plant(tmp_path)
    (root / "thesis.txt").write_text("mine")
    (left,) = sweep(tmp_path)
    assert "thesis.txt" in left.why
    assert (root / "thesis.txt").read_text() == "mine"


def test_a_report_cannot_name_files_of_the_users(tmp_path):
    out = tmp_path / "song"
    make(out, "old")
    (out / "thesis.txt").write_text("mine")
    (out / "sep.json").write_text(json.dumps({"stems": {"kick": {"file": "thesis.txt"}}}))
    make(out)
    assert (out / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("replace", [False, True])
def test_a_track_that_is_a_link_is_never_replaced(tmp_path, replace):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "notes.txt").write_text("mine")
    work = Workspace(tmp_path / "song", JOB, 0)
    fill(work)
    (tmp_path / "song").symlink_to("real")
    with pytest.raises(TrackError, match="is a link"):
        work.commit(report(), ["kick.wav"], replace=replace)
    assert work.discard() is None
    assert names(tmp_path) == ["real", "song"]
    assert names(tmp_path / "real") == ["notes.txt"]


def file(path):
    path.write_text("mine")


def folder(path):
    path.mkdir()
    (path / "kick.wav").write_text("mine")


@pytest.mark.parametrize("appear", [file, folder])
def test_what_came_meanwhile_is_not_replaced(tmp_path, appear):
    """Two runs at once, or the user's own file: the place is looked at again before the end."""
    out = tmp_path / "song"
    work = Workspace(out, JOB, 0)
    fill(work)
    appear(out)
    with pytest.raises(TrackError, match="came to be there"):
        work.commit(report(), ["kick.wav"])
    assert work.discard() is None
    assert names(tmp_path) == ["song"]
    assert (out / "kick.wav" if out.is_dir() else out).read_text() == "mine"


def test_a_file_in_the_place_is_not_replaced_even_by_overwrite(tmp_path):
    work = Workspace(tmp_path / "song", JOB, 0)
    fill(work)
    file(tmp_path / "song")
    with pytest.raises(TrackError, match="came to be there"):
        work.commit(report(), ["kick.wav"], replace=True)
    work.discard()
    assert (tmp_path / "song").read_text() == "mine"


def test_an_empty_folder_is_a_free_place(tmp_path):
    work = Workspace(tmp_path / "song", JOB, 0)
    fill(work)
    (tmp_path / "song").mkdir()
    assert work.commit(report(), ["kick.wav"]) == ""
    assert names(tmp_path / "song") == ["kick.wav", "sep.json"]
    work.discard()


def test_a_name_that_the_disk_does_not_take_is_told_before_the_work(tmp_path):
    with pytest.raises(TrackError, match="takes no folder called"):
        Workspace(tmp_path / ("x" * 300), JOB, 0)
    assert names(tmp_path) == []


def test_a_folder_of_the_users_with_a_stems_name_stays(tmp_path):
    out = tmp_path / "song"
    make(out, "old")
    (out / "kick.wav").unlink()
    (out / "kick.wav").mkdir()
    (out / "kick.wav" / "take 1.txt").write_text("mine")
    work = Workspace(out, JOB, 0)
    (work.new / "snare.wav").write_text("new")
    assert work.commit(report(), ["snare.wav"], replace=True) == ""
    assert work.discard() is None
    assert (out / "kick.wav" / "take 1.txt").read_text() == "mine"


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TrackError, match="cannot be written"):
        Workspace(tmp_path / "file" / "song", JOB, 0)


def test_lock_is_let_go_by_any_death(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from sep_runtime.tracks import Workspace\n"
        "w = Workspace(Path(sys.argv[1]), '0000dead', 0); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "song")], check=False)
    assert names(tmp_path) == [".sep-0000dead-0"]
    sweep(tmp_path)
    assert names(tmp_path) == []


@pytest.fixture
def lying(monkeypatch):
    """A shared disk that gives every machine any lock, as Lustre with localflock."""
    monkeypatch.setattr(tracks, "_hold", lambda lock: None)


@pytest.mark.usefixtures("lying")
@pytest.mark.parametrize("shared", ["", "song sep.json"])
def test_what_another_machine_makes_is_left_without_a_word(tmp_path, shared):
    work = Workspace(tmp_path / "song", JOB, 0, report=shared, host="a")
    fill(work)
    for host in ("b", "", "a longer name than it"):
        assert sweep(work.root.parent, host=host) == []
        assert (work.new / "kick.wav").read_text() == "new"
    assert sweep(work.root.parent, host="b", of=["00000000"]) == []
    assert work.commit(report(), ["kick.wav"]) == ""
    assert work.discard() is None
    assert not list(tmp_path.rglob(".sep-*"))


@pytest.mark.usefixtures("lying")
@pytest.mark.parametrize("words", [{"host": "a"}, {"host": "b", "of": [JOB]}, {"of": [JOB]}])
def test_what_is_over_is_cleared_by_its_machine_and_by_who_knows(tmp_path, words):
    fill(Workspace(tmp_path / "song", JOB, 0, host="a"))
    assert sweep(tmp_path, **words) == []
    assert names(tmp_path) == []


def test_what_another_machine_left_goes_after_seven_days(tmp_path):
    root = plant(tmp_path)
    (root / "lock").write_text("a")
    (root / "new").mkdir()
    for days, left in ((6.9, [DEAD]), (7.1, [])):
        then = time.time() - days * 24 * 3600
        os.utime(root / "lock", (then, then))
        assert sweep(tmp_path, host="b") == []
        assert names(tmp_path) == left


def test_one_that_is_alive_is_left_whoever_knows(tmp_path):
    work = Workspace(tmp_path / "song", JOB, 0, host="a")
    assert sweep(tmp_path, host="a", of=[JOB]) == []
    assert names(tmp_path) == [DEAD]
    work.discard()


def test_a_hard_link_in_the_place_of_a_lock_is_not_written(tmp_path):
    letter = tmp_path / "letter.txt"
    letter.touch()
    (tmp_path / "out" / DEAD).mkdir(parents=True, mode=0o700)
    (tmp_path / "out" / DEAD / "lock").hardlink_to(letter)
    Workspace(tmp_path / "out" / "song", JOB, 0, host="a").discard()
    assert letter.read_text() == ""


def test_hosts_of_any_name(tmp_path):
    for number, host in enumerate(("n\u00f6", "x" * 999, "\udce9", "a b\n")):
        work = Workspace(tmp_path / "song", JOB, number, host=host)
        os.close(work._lock)  # it died
        assert sweep(tmp_path, host="b") == []
        assert names(tmp_path) == [f".sep-{JOB}-{number}"]
        assert sweep(tmp_path, host=host) == []
        assert names(tmp_path) == []
