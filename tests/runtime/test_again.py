"""What is done already is known cheaply, and two attempts at one track end as one."""

import json
import os
import shutil
import time

import pytest
import soundfile

from sep_protocol import Job, Model, Output, Progress, Track, TrackDone, TrackFailed, Warned
from sep_runtime import upcoming
from sep_runtime.separate import separate

RESUME = Output(resume=True)


@pytest.fixture
def clip(tmp_path, noise):
    path = tmp_path / "clip.wav"
    soundfile.write(path, noise(2, 30000).T, 44100)
    return path


def only(events, kind):
    return [event for event in events if isinstance(event, kind)]


def altered(path, noise):
    """Give a file other sound, and the size and time that it had."""
    was = path.stat()
    soundfile.write(path, noise(2, 30000, seed=1).T, 44100)
    assert path.stat().st_size == was.st_size
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def test_a_mix_of_the_same_size_and_time_is_not_read_unless_asked(runtime, clip, tmp_path, noise):
    runtime(clip, identity="0123abcd")
    report = tmp_path / "out" / "clip" / "sep.json"
    said = json.loads(report.read_text())
    found = clip.stat()
    assert (said["mix"]["size"], said["mix"]["mtime_ns"]) == (found.st_size, found.st_mtime_ns)
    assert said["identity"] == "0123abcd"
    altered(clip, noise)
    assert only(runtime(clip, output=RESUME), TrackDone)[0].resumed
    failed = only(runtime(clip, code=1, output=Output(resume=True, verify=True)), TrackFailed)[0]
    assert "of another song" in failed.message
    os.utime(clip)
    failed = only(runtime(clip, code=1, output=RESUME), TrackFailed)[0]
    assert "of another song" in failed.message


def test_a_mix_of_another_time_is_compared_by_its_sound(runtime, clip):
    runtime(clip)
    os.utime(clip, ns=(0, 0))
    assert only(runtime(clip, output=RESUME), TrackDone)[0].resumed


def test_a_time_of_whole_seconds_is_one_that_many_files_have(runtime, clip, tmp_path, noise):
    """As out of an archive: the path must be the same, too, or the sound is compared."""
    os.utime(clip, ns=(0, 315532800_000000000))
    runtime(clip)
    altered(clip, noise)
    assert only(runtime(clip, output=RESUME), TrackDone)[0].resumed
    (tmp_path / "other").mkdir()
    moved = clip.rename(tmp_path / "other" / "clip.wav")
    failed = only(runtime(moved, code=1, output=RESUME), TrackFailed)[0]
    assert "of another song" in failed.message


def test_reports_without_size_and_time_are_compared_by_the_sound(runtime, clip, tmp_path, noise):
    runtime(clip)
    report = tmp_path / "out" / "clip" / "sep.json"
    said = json.loads(report.read_text())
    assert "identity" not in said
    del said["mix"]["size"], said["mix"]["mtime_ns"]
    report.write_text(json.dumps(said))
    assert only(runtime(clip, output=RESUME), TrackDone)[0].resumed
    altered(clip, noise)
    assert only(runtime(clip, code=1, output=RESUME), TrackFailed)


@pytest.fixture
def job(tiny, tmp_path, clip):
    """Jobs on the clip, done in this process: (shared or not, output, what happens) to events."""

    def run(on=lambda _: None, *, shared=False, **options):
        out = tmp_path / "out"
        track = Track(
            audio=str(clip),
            out=str(out if shared else out / "clip"),
            shared=shared,
            stem_name="clip {stem}" if shared else "{stem}",
        )
        model = Model(name="tiny", checkpoint=str(tiny[0]), settings=str(tiny[1]))
        made = Job(id="00000042", tracks=(track,), model=model, device="cpu", **options)
        events = []

        def emit(event):
            events.append(event)
            on(event)

        separate(made, emit, begun=time.perf_counter())
        return events

    return run


def test_a_mix_is_hashed_only_where_somebody_needs_it(job, clip, monkeypatch):
    read, real = [], upcoming.weights.digest

    def digest(path):
        read.extend([path] if path == clip else [])
        return real(path)

    monkeypatch.setattr(upcoming.weights, "digest", digest)
    job()
    assert len(read) == 1
    assert only(job(output=RESUME), TrackDone)[0].resumed
    assert len(read) == 1
    assert only(job(output=Output(resume=True, verify=True)), TrackDone)[0].resumed
    assert len(read) == 2


def test_a_mix_that_changes_while_it_is_read_is_noted_without_size_and_time(job, clip, tmp_path):
    job(lambda event: os.utime(clip, ns=(0, 0)) if isinstance(event, Progress) else None)
    said = json.loads((tmp_path / "out" / "clip" / "sep.json").read_text())
    assert set(said["mix"]) == {"path", "sha256"}


@pytest.fixture
def other(tmp_path):
    """What another attempt made comes to be there at the first sign of work: (folder) to a hook."""

    def hook(made):
        def come(event):
            if isinstance(event, Progress) and made.exists():
                shutil.copytree(made, tmp_path / "out", dirs_exist_ok=True)
                shutil.rmtree(made)

        return come

    return hook


@pytest.mark.parametrize("shared", [False, True])
def test_two_attempts_at_one_track_end_as_one(job, other, tmp_path, shared):
    job(shared=shared)
    out, made = tmp_path / "out", tmp_path / "made"
    out.rename(made)
    was = sorted(path.relative_to(made) for path in made.rglob("*"))
    done = only(job(other(made), shared=shared, output=RESUME), TrackDone)[0]
    assert done.resumed
    assert sorted(path.relative_to(out) for path in out.rglob("*")) == was


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    ("first", "second"),
    [({}, {}), ({"output": Output(bit_depth="16")}, {"output": RESUME})],
    ids=["not resumed", "other work"],
)
def test_what_else_comes_meanwhile_is_left_and_told(job, other, tmp_path, shared, first, second):
    job(shared=shared, **first)
    out, made = tmp_path / "out", tmp_path / "made"
    out.rename(made)
    was = {path.relative_to(made): path.stat().st_size for path in made.rglob("*.wav")}
    failed = only(job(other(made), shared=shared, **second), TrackFailed)[0]
    assert (failed.error, "came to be there" in failed.message) == ("TrackError", True)
    assert "--overwrite" in failed.hint
    assert {path.relative_to(out): path.stat().st_size for path in out.rglob("*.wav")} == was
    assert not list(out.rglob(".sep-*"))


def test_a_track_that_is_broken_when_attempts_meet_is_told(job, other, tmp_path):
    job()
    made = tmp_path / "made"
    (tmp_path / "out").rename(made)
    (made / "clip" / "kick.wav").unlink()
    failed = only(job(other(made), output=RESUME), TrackFailed)[0]
    assert "came to be there" in failed.message


@pytest.fixture
def dead(tmp_path):
    """What another machine's job left beside the tracks: its hidden folder."""
    root = tmp_path / "out" / ".sep-0000dead-3"
    (root / "new").mkdir(parents=True, mode=0o700)
    (root / "lock").write_text("another")
    return root


@pytest.mark.parametrize(
    ("words", "stays"),
    [
        ({"host": "here"}, True),
        ({}, True),
        ({"host": "another"}, False),
        ({"host": "here", "of": ("0000dead",)}, False),
        ({"host": "here", "of": ("0000beef",)}, True),
        ({"host": "another", "of": ("0000dead",), "tidy": False}, True),
    ],
)
def test_whose_hidden_folders_a_job_clears_away(runtime, clip, dead, tmp_path, words, stays):
    events = runtime(clip, **words)
    assert dead.exists() == stays
    assert not only(events, Warned)
    shutil.rmtree(tmp_path / "out" / "clip")
    dead.mkdir(mode=0o700, exist_ok=True)
    (dead / "lock").write_text("another")
    runtime(sweep=(str(tmp_path / "out"),), **{**words, "tidy": True})
    assert dead.exists() == (stays and words.get("tidy", True))
