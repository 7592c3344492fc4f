"""Stems of many tracks in one folder: a track's are all there or none, and nobody else's go."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from sep_protocol.errors import TrackError
from sep_runtime.tracks import Workspace, sweep

REPORT = "Song sep.json"
STEMS = ("kick", "snare")


def report(text, stems=STEMS, track="Song"):
    return {
        "sep": "0.1.0",
        "made": text,
        "settings": {"stem_name": f"{track} {{stem}}"},
        "stems": {stem: {"file": f"{track} {stem}.wav"} for stem in stems},
    }


def begin(out, text="new", *, stems=STEMS, track="Song", job="0a1b2c3d"):
    work = Workspace(out, job, 0, report=f"{track} sep.json")
    for stem in stems:
        (work.new / f"{track} {stem}.wav").write_text(text + stem)
    return work


def end(work, text="new", *, stems=STEMS, track="Song", replace=False):
    names = [f"{track} {stem}.wav" for stem in stems]
    return work.commit(report(text, stems, track), names, replace=replace)


def make(out, text="new", *, replace=False, **which):
    work = begin(out, text, **which)
    try:
        which.pop("job", None)
        assert end(work, text, replace=replace, **which) == ""
    finally:
        assert work.discard() is None


def content(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def stems(text, of=STEMS, track="Song"):
    return {f"{track} {stem}.wav": text + stem for stem in of}


def without_reports(folder):
    return {name: text for name, text in content(folder).items() if not name.endswith(".json")}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_tracks_lie_beside_each_other(tmp_path):
    out = tmp_path / "out"
    make(out)
    make(out, track="Song 2")
    assert without_reports(out) == stems("new") | stems("new", track="Song 2")
    assert json.loads((out / REPORT).read_text())["made"] == "new"
    assert json.loads((out / "Song 2 sep.json").read_text())["made"] == "new"
    assert not [name for name in names(out) if name.startswith(".")]


def test_discard_leaves_nothing(tmp_path):
    work = begin(tmp_path / "out")
    assert work.discard() is None
    assert names(tmp_path) == []


@pytest.mark.parametrize("what", ["Song kick.wav", REPORT])
def test_what_came_meanwhile_is_not_replaced(tmp_path, what):
    work = begin(tmp_path)
    (tmp_path / what).write_text("mine")
    with pytest.raises(TrackError, match="came to be there"):
        end(work)
    assert work.discard() is None
    assert content(tmp_path) == {what: "mine"}


@pytest.mark.parametrize("replace", [False, True])
def test_links_and_folders_are_never_replaced(tmp_path, replace):
    (tmp_path / "mine").write_text("mine")
    for path in (tmp_path / "Song kick.wav", tmp_path / "Song snare.wav"):
        if path.name.startswith("Song kick"):
            path.symlink_to("mine")
        else:
            (tmp_path / "Song kick.wav").unlink()
            path.mkdir()
        work = begin(tmp_path)
        with pytest.raises(TrackError, match="is not replaced"):
            end(work, replace=replace)
        assert work.discard() is None
        assert content(tmp_path)["mine"] == "mine"
    assert names(tmp_path) == ["Song snare.wav", "mine"]


def test_old_stems_go_by_their_report_and_nothing_else_does(tmp_path):
    make(tmp_path, "old")
    make(tmp_path, "other", track="Song 2")
    (tmp_path / "Song mine.wav").write_text("mine")
    make(tmp_path, "new", stems=("kick",), replace=True)
    wanted = stems("new", of=("kick",)) | stems("other", track="Song 2")
    assert without_reports(tmp_path) == wanted | {"Song mine.wav": "mine"}


@pytest.mark.parametrize(
    "said",
    [
        report("x", track="Song 2") | {"settings": {"stem_name": "Song {stem}"}},
        report("x", track="Song 2"),
        report("x") | {"settings": {}},
        {"stems": {"x": {"file": "Song mine.wav"}}, "settings": {"stem_name": "Song {stem}"}},
        {"stems": ["mine"], "settings": {"stem_name": "Song {stem}"}},
        {"stems": {"kick": {"file": "thesis.txt"}}, "settings": {"stem_name": "{stem}/x"}},
        [],
    ],
)
def test_a_report_names_no_files_of_others(tmp_path, said):
    make(tmp_path, "other", track="Song 2")
    (tmp_path / "Song mine.wav").write_text("mine")
    (tmp_path / "thesis.txt").write_text("mine")
    (tmp_path / REPORT).write_text(json.dumps(said))
    make(tmp_path, replace=True)
    mine = {"Song mine.wav": "mine", "thesis.txt": "mine"}
    assert without_reports(tmp_path) == stems("new") | stems("other", track="Song 2") | mine


def in_a_child(work):
    """Do it in a process of its own; returns its exit code, or the negative signal."""
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            code = work() or 0
        finally:
            os._exit(code)
    return pid


def code_of(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def die(out, moment):
    """Replace a track in a process that kills itself at a step; returns its exit code."""
    calls = iter(range(1000))

    def dying(real):
        def step(*args, **options):
            if next(calls) == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **options)

        return step

    def work():
        begun = begin(out, job="0000dead")
        for owner, name in ((Path, "rename"), (Path, "unlink"), (os, "fsync"), (os, "rmdir")):
            setattr(owner, name, dying(getattr(owner, name)))
        end(begun, replace=True)
        begun.discard()

    return code_of(in_a_child(work))


@pytest.mark.parametrize("before", [False, True])
def test_death_at_any_step_of_a_commit(tmp_path, before):
    """Before the next sweep there is no report beside stems that are not all its own."""
    old = stems("old", of=("kick", "hihat"))
    for moment in range(60):
        out = tmp_path / str(moment)
        out.mkdir()
        (out / "notes.txt").write_text("mine")
        make(out, "other", track="Song 2")
        if before:
            make(out, "old", stems=("kick", "hihat"))
        rest = without_reports(out)
        code = die(out, moment)
        assert code in (0, -9)
        if (out / REPORT).exists():
            made = json.loads((out / REPORT).read_text())["made"]
            assert (stems("new") if made == "new" else old).items() <= content(out).items()
        assert sweep(out) == []
        whole = {n: t for n, t in rest.items() if n not in old} | stems("new")
        left = without_reports(out)
        assert left in (rest, whole)
        assert (out / REPORT).exists() == (before or left == whole)
        assert not [name for name in names(out) if name.startswith(".")]
        if code == 0:
            assert left == whole
            break
    assert 10 < moment < 59


def in_the_middle(tmp_path):
    """A folder in which a job died with some stems moved in, and its work folder."""
    for moment in range(60):
        out = tmp_path / str(moment)
        make(out, "old")
        assert die(out, moment) == -9
        if (out / "Song kick.wav").exists() and (out / "Song kick.wav").read_text() == "newkick":
            return out, out / ".sep-0000dead-0"
    raise AssertionError("no stem moved")


def test_what_came_after_a_death_is_not_replaced_by_a_sweep(tmp_path):
    out, root = in_the_middle(tmp_path)
    (out / "Song snare.wav").write_text("mine, later")
    (left,) = sweep(out)
    assert left.path == root
    assert (out / "Song snare.wav").read_text() == "mine, later"
    assert (root / "old" / "Song snare.wav").read_text() == "oldsnare"
    (out / "Song snare.wav").unlink()
    assert sweep(out) == []
    assert without_reports(out) == stems("new")


@pytest.mark.parametrize(
    "change",
    [
        {"was": {"thesis.txt": [4, 0]}},
        {"was": {"../victim.wav": [4, 0]}},
        {"was": {"a\\b.wav": [4, 0]}},
        {"was": {"mine.wav": 1}},
        {"was": {"mine.wav": ["x"]}},
        {"was": []},
        {"stems": ["thesis.txt"]},
        {"stems": [".sep-00000001-0"]},
        {"stems": 1},
        {"report": "thesis.txt"},
        {"report": "../x.json"},
        {"report": None},
    ],
    ids=str,
)
def test_a_note_that_cannot_be_ours_moves_nothing(tmp_path, change):
    out = tmp_path / "out"
    root = out / ".sep-0a1b2c3d-0"
    (root / "new").mkdir(parents=True)
    (root / "lock").touch()
    (root / "new" / "x.json").write_text("{}")
    (root / "new" / "mine.wav").write_text("theirs")
    (out / "thesis.txt").write_text("mine")
    (out / "mine.wav").write_text("mine")
    (tmp_path / "victim.wav").write_text("mine")
    note = {"report": "x.json", "stems": ["mine.wav"], "was": {}}
    (root / "note").write_text(json.dumps(note | change))
    (left,) = sweep(out)
    assert left.path == root
    assert content(out) == {"thesis.txt": "mine", "mine.wav": "mine"}
    assert (tmp_path / "victim.wav").read_text() == "mine"


def test_a_planted_note_replaces_no_file_that_it_does_not_know(tmp_path):
    """An archive that was unpacked here: it cannot tell the time of the user's file."""
    root = tmp_path / ".sep-0a1b2c3d-0"
    (root / "new").mkdir(parents=True)
    (root / "lock").touch()
    for name in ("x.json", "mine.wav"):
        (root / "new" / name).write_text("theirs")
    (tmp_path / "mine.wav").write_text("mine")
    was = {"mine.wav": [4, 0]}
    (root / "note").write_text(json.dumps({"report": "x.json", "stems": ["mine.wav"], "was": was}))
    (left,) = sweep(tmp_path)
    assert left.path == root
    assert content(tmp_path) == {"mine.wav": "mine"}


def test_a_stem_that_is_in_already_stays(tmp_path):
    """A disk that keeps no order: the old one is lost, and the new one looks like it."""
    out, root = in_the_middle(tmp_path)
    note = json.loads((root / "note").read_text())
    found = (out / "Song kick.wav").stat()
    note["was"]["Song kick.wav"] = [found.st_size, found.st_mtime_ns]
    (root / "note").write_text(json.dumps(note))
    (root / "old" / "Song kick.wav").unlink()
    assert sweep(out) == []
    assert without_reports(out) == stems("new")


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="making a file busy needs root")
@pytest.mark.parametrize("busy", ["Song kick.wav", "Song snare.wav", REPORT])
def test_a_file_that_cannot_be_replaced_keeps_the_old_track(tmp_path, busy):
    """As one held open on Windows: all moves are undone."""
    make(tmp_path, "old")
    before = content(tmp_path)
    file = str(tmp_path / busy)
    if subprocess.run(["mount", "--bind", file, file], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        work = begin(tmp_path)
        with pytest.raises(OSError, match="busy"):
            end(work, replace=True)
        assert work.discard() is None
        assert content(tmp_path) == before
        assert not [name for name in names(tmp_path) if name.startswith(".")]
    finally:
        subprocess.run(["umount", file], check=True)


def test_of_runs_at_once_one_is_done_and_the_others_are_told(tmp_path):
    ready, go = os.pipe()

    def race(job):
        os.close(go)
        work = begin(tmp_path, job, job=job)
        os.read(ready, 1)  # until all may go
        try:
            end(work, job)
        except TrackError as fault:
            return 3 if "came to be there" in fault.template else 4
        finally:
            work.discard()

    runs = [in_a_child(lambda job=f"{number:08x}": race(job)) for number in range(1, 5)]
    while len(list(tmp_path.glob(".sep-*/new/*snare.wav"))) < len(runs):
        time.sleep(0.01)
    os.close(go)
    assert sorted(map(code_of, runs)) == [0, 3, 3, 3]
    os.close(ready)
    (made,) = {text[:8] for text in without_reports(tmp_path).values()}
    assert json.loads((tmp_path / REPORT).read_text())["made"] == made
    assert not [name for name in names(tmp_path) if name.startswith(".")]


def test_a_name_that_the_disk_does_not_take_is_told_before_the_work(tmp_path):
    with pytest.raises(TrackError, match="takes no file called"):
        Workspace(tmp_path, "0a1b2c3d", 0, report="x" * 300 + ".json")
    assert names(tmp_path) == []
