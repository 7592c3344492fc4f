"""Libraries that are done in parts: what is done is known by its report, shards share the rest."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import soundfile

BROKEN = "import sys; sys.exit('this runtime must not be started')"


@pytest.fixture
def album(tmp_path, noise):
    (tmp_path / "album" / "cd 2").mkdir(parents=True)
    for number, name in enumerate(("a.wav", "b.wav", "cd 2/a.wav")):
        soundfile.write(tmp_path / "album" / name, noise(2, 9000, seed=number).T, 44100)
    return tmp_path / "album"


@pytest.fixture
def never(tmp_path):
    """An environment whose runtime ends at once, with an error."""
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\n{BROKEN}\n")
    program.chmod(0o755)
    return {"SEP_RUNTIME_PYTHON": str(program)}


def read(mixes):
    """Return when each file was read last."""
    return {path: path.stat().st_atime_ns for path in mixes}


@pytest.mark.parametrize("name", ["{track}/{stem}", "{track} of {parent} {stem}"])
def test_a_library_that_is_done_starts_no_runtime_and_is_not_read(
    sep, album, with_tiny, never, name
):
    run = ("run", "album", *with_tiny, "--name", name)
    sep(*run)
    mixes = sorted(album.rglob("*.wav"))
    for path in mixes:  # as if nobody had read it since it was written: relatime would tell
        os.utime(path, ns=(0, path.stat().st_mtime_ns))
    done = sep(*run, "--resume", "--events", env=never)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["event"] for each in events] == ["track-done"] * 3 + ["done"]
    assert [each["track"] for each in events[:3]] == [0, 1, 2]
    assert all(each["resumed"] for each in events[:3])
    assert (events[-1]["done"], events[-1]["failed"]) == (3, 0)
    assert set(read(mixes).values()) == {0}
    assert "done: 3 tracks, 3 of them done before" in sep(*run, "--resume", env=never).stderr
    # Nor do another batch, and another place of the same files, make it another work.
    album.rename(album.parent / "moved")
    moved = ("run", "moved/a.wav", "moved/b.wav", *with_tiny, "--resume", "--batch", "3")
    if name == "{track}/{stem}":
        sep(*moved, "--device", "cpu", env=never)


@pytest.mark.slow
def test_the_rest_is_done_under_the_numbers_of_the_whole(sep, album, with_tiny):
    run = ("run", "album", *with_tiny, "--json", "--resume")
    sep("run", "album/b.wav", *with_tiny)
    (album / "c.wav").write_text("no audio")
    found = json.loads(sep(*run, check=1).stdout)
    assert [Path(each["mix"]).name for each in found["tracks"]] == [
        "a.wav",
        "b.wav",
        "c.wav",
        "a.wav",
    ]
    assert [each.get("resumed") for each in found["tracks"]] == [False, True, None, False]
    again = sep("run", "album", *with_tiny, "--resume", check=1).stderr
    assert "done: 3 of 4 tracks, 3 of them done before" in again
    assert f"3/4 failed: {Path('album', 'c.wav')}" in again


@pytest.mark.slow
def test_what_is_not_certain_is_left_to_the_runtime(sep, album, with_tiny, never, noise):
    run = ("run", "album/a.wav", *with_tiny, "--resume")
    sep(*run)
    report = album.parent / "separated" / "a" / "sep.json"
    whole = json.loads(report.read_text())
    kick = report.parent / "kick.wav"
    for change in (
        lambda: kick.write_bytes(b""),
        kick.unlink,
        lambda: os.utime(album / "a.wav", ns=(0, 0)),
        lambda: report.write_text(json.dumps({**whole, "identity": "other"})),
        lambda: report.write_text(json.dumps({**whole, "mix": 1})),
        lambda: report.write_text("[" * 100_000),
        lambda: report.write_text(""),
    ):
        kept = {path: path.read_bytes() for path in report.parent.iterdir()}
        change()
        sep(*run, check=15, env=never)
        for path, was in kept.items():
            path.write_bytes(was)
        found = whole["mix"]["mtime_ns"]
        os.utime(album / "a.wav", ns=(found, found))
        sep(*run, env=never)
    sep(*run[:-1], "--resume=verify", check=15, env=never)
    told = json.loads(sep(*run, "--bit-depth", "16", "--json", check=1).stdout)["tracks"][0]
    assert "has stems made with bit depth 24, not 16" in told["message"]
    assert sep(*run, "--precision", "fp32").stderr.startswith("a.wav: ")


def test_verify_reads(sep, album, with_tiny, noise):
    sep("run", "album/a.wav", *with_tiny)
    path = album / "a.wav"
    was = path.stat()
    soundfile.write(path, noise(2, 9000, seed=9).T, 44100)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    run = ("run", "album/a.wav", *with_tiny)
    assert "done before" in sep(*run, "--resume").stderr
    assert "of another song" in sep(*run, "--resume=verify", check=1).stderr
    assert "--resume" in sep(*run, "--resume=other", check=2).stderr


def tracks_of(found):
    return {each["mix"] for each in found}


def test_shards_are_disjoint_complete_and_stable(sep, album, tmp_path):
    for number in range(20):
        shutil.copy(album / "a.wav", album / f"x{number}.wav")
    shutil.copy(album / "a.wav", album / "x1.mp3")  # it gets another name beside x1.wav

    def listed(*words):
        found = json.loads(sep("run", *words, "--dry-run", "--json").stdout)
        return found.get("dry_run", {"tracks": []})["tracks"]

    whole = listed("album", "-o", "out")
    shards = [listed("album", "-o", "out", "--shard", f"{k}/3") for k in range(3)]
    assert sum(map(len, shards)) == len(whole) == 24
    assert all(any(each in shard for shard in shards) for each in whole)  # names and all
    assert all(shards)
    shutil.copy(album / "a.wav", album / "new.wav")
    album.rename(tmp_path / "moved")
    for k, before in enumerate(shards):
        now = tracks_of(listed("moved", "-o", "out", "--shard", f"{k}/3"))
        was = {each.replace("/album/", "/moved/") for each in tracks_of(before)}
        assert now - {str(tmp_path / "moved" / "new.wav")} == was


@pytest.mark.slow
def test_shards_together_are_the_run(sep, album, with_tiny, tmp_path):
    sep("run", "album", *with_tiny, "-o", "whole")
    for k in range(4):
        told = sep("run", "album", *with_tiny, "-o", "parts", "--shard", f"{k}/4").stderr
        assert told.startswith(f"shard {k}/4: ")
    whole, parts = (
        {p.relative_to(out): p.read_bytes() for p in out.rglob("*.wav")}
        for out in (tmp_path / "whole", tmp_path / "parts")
    )
    assert parts == whole != {}


def test_an_empty_shard_is_done_and_a_bad_one_is_told(sep, album, never):
    for k in range(50):
        done = sep("run", "album/a.wav", "--shard", f"{k}/50", "--json", check=None, env=never)
        if done.returncode == 0:
            break
    assert done.returncode == 0
    assert f"shard {k}/50: none of 1 track" in done.stderr
    assert json.loads(done.stdout)["tracks"] == []
    dry = sep("run", "album/a.wav", "--shard", f"{k}/50", "--dry-run", env=never)
    assert "none of 1 track" in dry.stderr
    for typed in ("4/4", "0/0", "x", "1", "-1/3"):
        assert "for example" in sep("run", "album", f"--shard={typed}", check=2).stderr
    assert "has no value" in sep("run", "album", "--shard=", check=2).stderr


def test_a_shard_that_would_write_among_the_songs_of_another_is_refused(sep, album):
    """Conflicts are looked for over all files."""
    name = ("-o", ".", "--name", "album/{track} of {parent} {stem}")
    for k in range(2):
        done = sep("run", "album", *name, "--shard", f"{k}/2", check=None)
        assert done.returncode == 3 or "none of 3" in done.stderr
    assert "would both go into" in sep("run", "album", "--name", "{track} {stem}", check=2).stderr
