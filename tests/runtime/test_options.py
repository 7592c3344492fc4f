"""Residual, downmix, resume and lossy output, through a real Job."""

import json
import subprocess
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sep_protocol import Model, Output, TrackDone, TrackFailed, Warned
from sep_runtime.made import Settings

FILES = Path(__file__).parent / "files"


def only(events, kind):
    return [event for event in events if isinstance(event, kind)]


@pytest.fixture
def clip(tmp_path, noise):
    path = tmp_path / "clip.flac"
    soundfile.write(path, noise(2, 50000).T, 96000, "PCM_24")
    return path


def test_residual_and_stems_sum_to_the_mix(runtime, clip, noise):
    output = Output(residual=True, bit_depth="float")
    done = only(runtime(clip, output=output), TrackDone)[0]
    assert list(done.stems)[-1] == "residual"
    total = sum(soundfile.read(path)[0] for path in done.stems.values())
    mix, _ = soundfile.read(clip)
    assert np.abs(total - mix).max() < 1e-5


def test_residual_is_of_all_stems_even_if_few_are_written(runtime, clip, tmp_path):
    output = Output(residual=True, bit_depth="float")
    first = only(runtime(clip, output=output), TrackDone)[0].stems["residual"]
    whole, _ = soundfile.read(first)
    few = Output(residual=True, bit_depth="float", stems=("kick",), overwrite=True)
    done = only(runtime(clip, output=few), TrackDone)[0]
    assert list(done.stems) == ["kick", "residual"]
    assert np.array_equal(soundfile.read(done.stems["residual"])[0], whole)


def test_surround_is_refused_unless_mixed_down(runtime, tmp_path, noise):
    path = tmp_path / "surround.wav"
    soundfile.write(path, noise(6, 9000).T, 48000)
    failed = only(runtime(path, code=1), TrackFailed)[0]
    assert "6 channels" in failed.message
    assert "--downmix" in failed.hint
    done = only(runtime(path, downmix=True), TrackDone)[0]
    info = soundfile.info(done.stems["kick"])
    assert (info.channels, info.frames) == (2, 9000)


def test_resume_leaves_what_is_done_and_refuses_what_is_other(runtime, clip, tmp_path, noise):
    resume = Output(resume=True)
    assert not only(runtime(clip, output=resume), TrackDone)[0].resumed
    kick = tmp_path / "out" / "clip" / "kick.wav"
    before = kick.stat().st_mtime_ns
    again = only(runtime(clip, output=resume), TrackDone)[0]
    assert again.resumed
    assert again.stems["kick"] == str(kick)
    assert kick.stat().st_mtime_ns == before
    for other, told in (
        ({"output": Output(resume=True, bit_depth="16")}, "made with bit depth 24, not 16"),
        ({"output": Output(resume=True, residual=True)}, "made with residual off, not on"),
        ({"output": resume, "overlap": 4.0}, "made with hop "),
    ):
        failed = only(runtime(clip, code=1, **other), TrackFailed)[0]
        assert f"has stems {told}" in failed.message
    kick.unlink()
    assert not only(runtime(clip, output=resume), TrackDone)[0].resumed
    assert kick.exists()
    both = Output(resume=True, overwrite=True, bit_depth="16")
    assert not only(runtime(clip, output=both), TrackDone)[0].resumed
    assert only(runtime(clip, output=both), TrackDone)[0].resumed
    soundfile.write(clip, noise(2, 50000, seed=1).T, 96000, "PCM_24")
    assert only(runtime(clip, code=1, output=resume), TrackFailed)
    report = json.loads((tmp_path / "out" / "clip" / "sep.json").read_text())
    assert len(report["mix"]["sha256"]) == 64


def test_resume_compares_a_precision_that_was_named(runtime, clip, tmp_path):
    resume = Output(resume=True)
    assert not only(runtime(clip, output=resume), TrackDone)[0].resumed
    path = tmp_path / "out" / "clip" / "sep.json"
    report = json.loads(path.read_text())
    assert report["settings"]["precision"] == report["device"]["precision"] == "fp32"
    assert only(runtime(clip, output=resume, precision="fp32"), TrackDone)[0].resumed
    report["settings"]["precision"] = "fp16"  # as another device made it
    path.write_text(json.dumps(report))
    assert only(runtime(clip, output=resume), TrackDone)[0].resumed
    failed = only(runtime(clip, code=1, output=resume, precision="fp32"), TrackFailed)[0]
    assert "has stems made with precision fp16, not fp32" in failed.message


def test_resume_goes_on_whatever_the_batch(runtime, clip):
    resume = Output(resume=True)
    assert not only(runtime(clip, output=resume, batch=1), TrackDone)[0].resumed
    assert only(runtime(clip, output=resume, batch=3), TrackDone)[0].resumed


def test_resume_knows_the_reports_of_the_first_release(runtime, clip, tmp_path):
    """Red where a setting came without a default: `Settings` in made.py says which it needs."""
    resume = Output(resume=True)
    runtime(clip)
    report = tmp_path / "out" / "clip" / "sep.json"
    now, old = (json.loads(path.read_text()) for path in (report, FILES / "sep-0.1.0.json"))
    old["mix"]["sha256"] = now["mix"]["sha256"]
    old["model"]["sha256"] = now["model"]["sha256"]
    for stem, said in now["stems"].items():
        old["stems"][stem]["bytes"] = said["bytes"]
    report.write_text(json.dumps(old))
    assert only(runtime(clip, output=resume), TrackDone)[0].resumed
    old["settings"]["louder"] = True  # of a later release: nobody here knows what it did
    report.write_text(json.dumps(old))
    assert only(runtime(clip, output=resume, code=1), TrackFailed)


def test_songs_that_share_a_folder(runtime, clip, tmp_path, noise):
    other = tmp_path / "clip 2.wav"
    soundfile.write(other, noise(2, 9000).T, 44100)
    few = Output(stems=("kick", "snare"), resume=True)
    done = only(runtime(clip, other, shared=True, output=few), TrackDone)
    out = tmp_path / "out"
    wanted = [f"clip{i} {n}" for i in ("", " 2") for n in ("kick.wav", "sep.json", "snare.wav")]
    assert sorted(path.name for path in out.iterdir()) == sorted(wanted)
    assert done[1].stems["kick"] == str(out / "clip 2 kick.wav")
    assert soundfile.info(done[1].stems["kick"]).frames == 9000
    failed = only(runtime(clip, shared=True, code=1, output=Output(stems=("kick",))), TrackFailed)
    assert failed[0].path == str(out / "clip kick.wav")
    assert "exists already" in failed[0].message
    (out / "clip kick.wav").unlink()
    again = only(runtime(clip, other, shared=True, output=few), TrackDone)
    assert [each.resumed for each in again] == [False, True]
    runtime(clip, shared=True, output=Output(stems=("kick",), format="flac", overwrite=True))
    wanted = [*wanted[3:], "clip kick.flac", "clip sep.json"]
    assert sorted(path.name for path in out.iterdir()) == sorted(wanted)
    failed = only(runtime(clip, shared=True, code=1, output=Output(resume=True)), TrackFailed)
    assert "has stems made with format flac, not wav" in failed[0].message


def test_a_song_in_the_shared_folder_is_refused(runtime, tmp_path, noise):
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / "x kick.wav"
    soundfile.write(path, noise(1, 3000).T, 44100)
    failed = only(runtime(path, shared=True, code=1, output=Output(overwrite=True)), TrackFailed)
    assert "would go into the folder of" in failed[0].message


def test_the_runtime_replaces_nothing_by_itself(runtime, clip):
    runtime(clip)
    failed = only(runtime(clip, code=1), TrackFailed)[0]
    assert "exists already" in failed.message


def test_one_song_that_a_format_cannot_hold_refuses_no_batch(runtime, clip, tmp_path, noise):
    good = tmp_path / "good.wav"
    soundfile.write(good, noise(2, 9000).T, 44100)
    events = runtime(clip, good, code=1, output=Output(format="mp3"))
    failed, done = only(events, TrackFailed)[0], only(events, TrackDone)[0]
    assert "96000" in failed.message
    assert "--format wav" in failed.hint
    assert soundfile.info(done.stems["kick"]).frames == 9000
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["good"]


def test_a_stem_that_was_cut_short_is_made_again(runtime, clip, tmp_path):
    resume = Output(resume=True)
    kick = Path(only(runtime(clip), TrackDone)[0].stems["kick"])
    whole = kick.read_bytes()
    for left in (b"", whole[:-1]):
        kick.write_bytes(left)
        assert not only(runtime(clip, output=resume), TrackDone)[0].resumed
        assert kick.read_bytes() == whole
    assert only(runtime(clip, output=resume), TrackDone)[0].resumed


def test_a_report_that_names_other_files_is_no_resumed_track(runtime, clip, tmp_path):
    runtime(clip)
    report = tmp_path / "out" / "clip" / "sep.json"
    said = json.loads(report.read_text())
    said["stems"]["kick"]["file"] = "../../../etc/passwd"
    report.write_text(json.dumps(said))
    done = only(runtime(clip, output=Output(resume=True)), TrackDone)[0]
    assert not done.resumed
    whole = json.loads(report.read_text())
    for key, value in (
        ("frames", float("inf")),
        ("frames", 10**400),
        ("frames", -1),
        ("sample_rate", float("inf")),
        ("sample_rate", 10**400),
        ("stems", {}),
        ("stems", {"kick": whole["stems"]["kick"]}),
    ):
        report.write_text(json.dumps({**whole, key: value}))
        assert only(runtime(clip, code=1, output=Output(resume=True)), TrackFailed)
    report.write_text("[" * 100_000)
    failed = only(runtime(clip, code=1, output=Output(resume=True)), TrackFailed)[0]
    assert "stems that its report does not describe" in failed.message


def test_a_network_that_gives_no_numbers(runtime, tmp_path, noise, tiny):
    state = torch.load(tiny[0])["state_dict"]
    for value, name in ((np.nan, "nan"), (np.inf, "inf")):
        broken = {
            **state,
            "final_conv.2.weight": torch.full_like(state["final_conv.2.weight"], value),
        }
        torch.save(broken, tmp_path / f"{name}.ckpt")
        soundfile.write(tmp_path / f"{name}.wav", noise(2, 5000).T, 44100)
        model = Model(name="x", checkpoint=str(tmp_path / f"{name}.ckpt"), settings=str(tiny[1]))
        failed = only(runtime(tmp_path / f"{name}.wav", code=1, model=model), TrackFailed)[0]
        assert "not numbers" in failed.message
    assert not (tmp_path / "out").exists()


def test_samples_near_the_largest_number(runtime, tmp_path, noise):
    """Told, not written as silence."""
    soundfile.write(tmp_path / "x.wav", noise(2, 5000).T.astype(float) * 6e38, 44100, "FLOAT")
    failed = only(runtime(tmp_path / "x.wav", code=1), TrackFailed)[0]
    assert "not numbers" in failed.message
    assert "full scale" in failed.hint


def test_a_track_folder_that_is_a_link_is_refused(runtime, clip, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "notes.txt").write_text("mine")
    (tmp_path / "out" / "clip").symlink_to("../real")
    for output in (Output(), Output(overwrite=True), Output(resume=True)):
        failed = only(runtime(clip, code=1, output=output), TrackFailed)[0]
        assert "is a link" in failed.message
    assert [p.name for p in (tmp_path / "real").iterdir()] == ["notes.txt"]


def test_folders_of_dead_jobs_that_are_not_ours_are_named_and_stop_nobody(runtime, clip, tmp_path):
    planted = tmp_path / "out" / ".sep-0a1b2c3d-0"
    (planted / "old").mkdir(parents=True)
    (planted / "lock").touch()
    (planted / "note").write_text(json.dumps({"out": "../../victim", "replaced": []}))
    events = runtime(clip)
    assert only(events, TrackDone)
    (warned,) = only(events, Warned)
    assert warned.path == str(planted)
    assert planted.is_dir()


@pytest.mark.parametrize(
    "output",
    [Output(format="flac", bit_depth="float"), Output(format="ogg", bit_depth="16")],
)
def test_depths_that_a_format_has_not(runtime, clip, output):
    assert runtime(clip, code=2, output=output)[-1].error == "UsageError"


def test_read_only_output(runtime, tmp_path, noise):
    """A real read-only file system; permissions would not stop root."""
    out = tmp_path / "out"
    out.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(out)], check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a read-only file system needs root")
    try:
        path = tmp_path / "clip.wav"
        soundfile.write(path, noise(2, 5000).T, 44100)
        failed = only(runtime(path, code=1), TrackFailed)[0]
        assert "cannot be written" in failed.message
    finally:
        subprocess.run(["umount", str(out)], check=True)


def test_an_output_that_cannot_be_replaced_is_kept(runtime, tmp_path, clip):
    """As a folder held open on Windows: the rename fails, the old stems stay."""
    runtime(clip)
    out = tmp_path / "out" / "clip"
    before = (out / "kick.wav").read_bytes()
    mounted = subprocess.run(["mount", "--bind", str(out), str(out)], check=False)
    if mounted.returncode:
        pytest.skip("making a folder busy needs root")
    try:
        failed = only(runtime(clip, code=1, output=Output(overwrite=True)), TrackFailed)[0]
        assert "writing failed" in failed.message
        assert (out / "kick.wav").read_bytes() == before
        assert [p.name for p in (tmp_path / "out").iterdir()] == ["clip"]
    finally:
        subprocess.run(["umount", str(out)], check=True)


def test_very_long_and_odd_names(runtime, tmp_path, noise):
    for name in ("🥁" * 60, "a:b?c*d", "new\nline", "{stem}", "%s %d", "-rf"):
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, noise(1, 3000).T, 44100)
        done = only(runtime(path), TrackDone)[0]
        assert soundfile.info(done.stems["kick"]).frames == 3000


def test_a_file_where_the_track_would_be_is_kept(runtime, clip, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "clip").write_text("mine")
    for output in (Output(), Output(overwrite=True), Output(resume=True)):
        failed = only(runtime(clip, code=1, output=output), TrackFailed)[0]
        assert "is a file" in failed.message
    assert (tmp_path / "out" / "clip").read_text() == "mine"
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["clip"]


def test_every_choice_of_the_output_is_in_the_report():
    """A choice that the report does not know would be passed over by a resumed job."""
    no_matter = {"overwrite", "resume", "verify"}  # they change no sample
    no_matter |= {"intermediate"}  # what it adds is among the stems
    assert {each.name for each in fields(Output)} - no_matter <= {
        each.name for each in fields(Settings)
    }
