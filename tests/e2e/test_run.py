"""`sep run` as a person types it, with the bundled model and the shipped example."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

GROOVE = Path(__file__).parent.parent.parent / "examples" / "groove.flac"
STEMS = ["kick", "snare", "toms", "hihat", "cymbals"]


@pytest.fixture
def clip(tmp_path, noise):
    path = tmp_path / "clip.wav"
    soundfile.write(path, noise(2, 30000).T, 44100)
    return path


def test_the_first_command_of_the_readme(sep, tmp_path):
    done = sep("run", GROOVE)
    assert done.stdout == ""
    first, last, files = done.stderr.splitlines()
    assert first.startswith("groove.flac: on the ")
    assert first.endswith(", model mdx23c-mini (for drums)")
    # The device that was really used, how long it took, and a folder to open from here.
    real = r"done: 5 stems in .* on the (CPU|Apple GPU|NVIDIA GPU) \(\d+\.\d+x real time\) -> (.*)"
    assert re.fullmatch(real, last)[2] == str(Path("separated", "groove"))
    assert files.split() == [f"{stem}.wav" for stem in STEMS]
    mix, _ = soundfile.read(GROOVE)
    total = np.zeros_like(mix)
    for stem in STEMS:
        samples, rate = soundfile.read(tmp_path / "separated" / "groove" / f"{stem}.wav")
        assert (rate, samples.shape) == (44100, mix.shape)
        assert np.abs(samples).max() > 0.01, f"{stem} is silent"
        total += samples
    # The bundled model masks with a softmax, so its stems sum to the mix, up to 24 bit rounding.
    assert np.abs(total - mix).max() < 1e-5
    report = json.loads((tmp_path / "separated" / "groove" / "sep.json").read_text())
    assert report["model"]["name"] == "mdx23c-mini"


def test_json_is_one_document(sep, clip, with_tiny):
    done = sep("run", clip, "--json", *with_tiny)
    found = json.loads(done.stdout)
    assert found["exit_code"] == 0
    assert found["device"]["device"] == "cpu"
    assert found["route"]["engine"] == "native"
    assert found["tracks"][0]["mix"] == str(clip)
    assert set(found["tracks"][0]["stems"]) == set(STEMS)
    assert set(found["phases"]) == {"import", "load", "decode", "network", "encode"}


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["nope.wav"], 3),
        (["*.ogg"], 3),
        (["clip.wav", "--device", "tpu"], 2),
        (["clip.wav", "--no-such-option"], 2),
        (["clip.wav", "--format", "mp4"], 2),
        (["clip.wav", "--format", "flac", "--bit-depth", "float"], 2),
        (["clip.wav", "--overlap", "0"], 2),
        (["clip.wav", "--model", "nope"], 16),
        (["clip.wav", "--model", "drumsep"], 16),
        (["clip.wav", "--model", "nope.ckpt"], 3),
        (["clip.wav", "--device", "MPS"], 13),
        (["clip.wav", "--stems", ""], 2),
        (["clip.wav", "--out", "/proc/x"], 3),
        (["clip.wav", "--stems", "kick,bass"], 2),
        (["clip.wav", "--device", "cuda:7"], 13),
        (["clip.wav", "--engine", "container"], (11, 12)),
        (["bad.wav"], 1),
        (["bad.wav", "clip.wav"], 1),
        ([], 2),
        ([""], 2),
        (["clip.wav", ""], 2),
        (["clip.wav", "--out", ""], 2),
        (["clip.wav", "--out="], 2),
        (["clip.wav", "--name", ""], 2),
        (["clip.wav", "--model", ""], 2),
        (["clip.wav", "--overlap", "inf"], 2),
        (["-"], 3),
        (["/dev/null"], 3),
    ],
)
def test_every_failure_has_its_code_and_its_document(sep, clip, with_tiny, args, code):
    (clip.parent / "bad.wav").write_text("no audio")
    model = [] if "--model" in args else with_tiny
    done = sep("run", *args, "--json", *model, check=None)
    codes = code if isinstance(code, tuple) else (code,)
    assert done.returncode in codes, done.stderr
    document = json.loads(done.stdout)
    assert document["exit_code"] == done.returncode
    assert "Traceback" not in done.stderr
    if code != 1:
        assert document["error"]["message"] == document["error"]["message"].rstrip(".")
        assert f"error: {document['error']['message']}" in done.stderr
        assert not (clip.parent / "separated").exists()


def test_a_batch_goes_on_past_a_bad_track(sep, clip, with_tiny, tmp_path):
    (tmp_path / "album").mkdir()
    for name in ("a.wav", "c.wav"):
        (tmp_path / "album" / name).write_bytes(clip.read_bytes())
    (tmp_path / "album" / "b.wav").write_text("no audio")
    done = sep("run", "album", *with_tiny, check=1)
    line, (*_, total, count, again) = (
        "b.wav is not audio, or it is damaged",
        done.stderr.splitlines(),
    )
    assert f"2/3 failed: {Path('album', line)}" in done.stderr
    assert re.match(r"done: 2 of 3 tracks in .* -> separated$", total)
    assert count == "failed: 1 of 3 tracks"
    assert again.startswith(f"  {Path('album', line)}")
    assert sorted(p.name for p in (tmp_path / "separated").iterdir()) == ["a", "c"]


def test_finished_output_is_kept_unless_told(sep, clip, with_tiny, tmp_path):
    sep("run", clip, *with_tiny)
    kick = tmp_path / "separated" / "clip" / "kick.wav"
    before = kick.stat().st_mtime_ns
    done = sep("run", clip, *with_tiny, check=3)
    assert "--overwrite" in done.stderr
    assert kick.stat().st_mtime_ns == before
    sep("run", clip, *with_tiny, "--overwrite")
    assert kick.stat().st_mtime_ns != before


def test_names_stems_and_formats(sep, clip, with_tiny, tmp_path):
    sep(
        "run",
        clip,
        *with_tiny,
        *("--out", "o", "--name", "{track} ({model})/{track} {stem}"),
        *("--stems", "kick,hh", "--format", "flac", "--bit-depth", "16"),
    )
    folder = tmp_path / "o" / "clip (tiny)"
    assert sorted(p.name for p in folder.iterdir()) == [
        "clip hihat.flac",
        "clip kick.flac",
        "sep.json",
    ]
    assert soundfile.info(folder / "clip kick.flac").subtype == "PCM_16"


def test_stems_of_an_album_in_one_folder(sep, clip, with_tiny, tmp_path):
    """The way from another tool's folders to a session: named by song, nothing replaced."""
    for song in ("Song A", "Song B"):
        (tmp_path / "htdemucs" / song).mkdir(parents=True)
        for name in ("drums.wav", "bass.wav"):
            (tmp_path / "htdemucs" / song / name).write_bytes(clip.read_bytes())
    flat = ("--name", "{parent} {stem}", "--stems", "kick,snare", "-o", "mix")
    command = ("run", "htdemucs", "--include", "drums.*", *flat, *with_tiny)
    first = subprocess.run(
        ["bash", "-c", sep(*command, "--dry-run", "-v").stdout],
        stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    assert first.returncode == 0, first.stderr
    made = [f"Song {n} {name}" for n in "AB" for name in ("kick.wav", "sep.json", "snare.wav")]
    assert sorted(path.name for path in (tmp_path / "mix").iterdir()) == made
    assert "Song A sep.json and 1 more exist already" in sep(*command, check=3).stderr
    (tmp_path / "mix" / "Song B snare.wav").unlink()
    done = json.loads(sep(*command, "--resume", "--json").stdout)
    assert [each["resumed"] for each in done["tracks"]] == [True, False]
    assert sorted(path.name for path in (tmp_path / "mix").iterdir()) == made
    sep("run", ".", "--include", "*kick.wav", *with_tiny, check=3)  # those are stems
    clash = sep("run", "htdemucs", "--name", "{track} {stem}", *with_tiny, check=2)
    assert "{parent}" in clash.stderr
    assert not (tmp_path / "separated").exists()


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (["--stems", "kick,bass"], 2, "bass"),
        (["--stems", "kick,kick"], 2, "twice"),
        (["--device", "cuda"], 13, "there is no NVIDIA GPU"),
        (["--device", "mps"], 13, "there is no Apple GPU"),
        (["--memory", "4g"], 2, "limits a container"),
        (["--memory", "4g", "--engine", "native"], 2, "limits a container"),
        (["--overlap", "1e9"], 2, "at most"),
        (["--name", "{artist}/{track}/{stem}"], 2, "{artist}"),
        (["--include", "x*"], 2, "for folders"),
        ([], 3, "exists already"),
    ],
)
def test_what_cannot_be_is_refused_before_the_disk_is_looked_at(
    sep, clip, tmp_path, args, code, told
):
    (tmp_path / "separated" / "clip").mkdir(parents=True)
    (tmp_path / "separated" / "clip" / "kick.wav").touch()
    assert told in sep("run", clip, *args, check=code).stderr
    if code != 3 and "--include" not in args:
        assert told in sep("run", "nope.wav", *args, check=code).stderr


@pytest.mark.parametrize("name", ["{track}/{stem}", "{track} {stem}"])
def test_two_runs_of_one_song_at_once(home, clip, with_tiny, tmp_path, name):
    """The first that is done stays; the other one is told."""
    command = [sys.executable, "-P", "-m", "sep_launcher", "run", clip, "--name", name, *with_tiny]
    runs = [
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) for _ in range(2)
    ]
    texts = [run.communicate()[1] for run in runs]
    told = {run.returncode: text for run, text in zip(runs, texts, strict=True)}
    assert set(told) in ({0, 1}, {0, 3}), told
    assert "--overwrite" in told[max(told)]
    assert not list((tmp_path / "separated").glob(".*"))


def test_quiet_and_verbose(sep, clip, with_tiny):
    quiet = sep("run", clip, *with_tiny, "--quiet")
    assert (quiet.stdout, quiet.stderr) == ("", "")
    plain = sep("run", clip, *with_tiny, "--overwrite").stderr
    verbose = sep("run", clip, *with_tiny, "--verbose", "--overwrite").stderr
    for word in ("not container cpu:", "torch 2.", "network", "chunks", "whole command"):
        assert word in verbose
        assert word not in plain


def test_events_are_the_runtimes(sep, clip, with_tiny):
    done = sep("run", clip, *with_tiny, "--events", "--quiet")
    kinds = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert (kinds[0], kinds[-1]) == ("hello", "done")
    assert "device" in kinds


def test_dry_run_prints_a_command_that_does_the_job(sep, clip, with_tiny, tmp_path):
    done = sep("run", clip, *with_tiny, "--dry-run", "-v")
    assert not (tmp_path / "separated").exists()
    ran = subprocess.run(
        ["bash", "-c", done.stdout],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "separated" / "clip" / "kick.wav").exists()


def test_a_folder_full_of_traps_is_no_package_path(sep, clip, with_tiny, tmp_path):
    for name in ("torch.py", "json.py", "sep_runtime.py", "numpy.py"):
        (tmp_path / name).write_text("raise SystemExit('imported from the current folder')")
    sep("run", clip, *with_tiny)


def test_routes_and_models(sep):
    assert sep("route").stdout.startswith("native cpu: ")
    assert json.loads(sep("route", "--json").stdout)["device"] == "cpu"
    listed = {
        each["name"]: each for each in json.loads(sep("models", "list", "--json").stdout)["models"]
    }
    assert listed["mdx23c-mini"]["default"]
    assert not listed["larsnet"]["installed"]
    assert "mdx23c-mini" in sep("models", "list").stdout


def test_version_and_help(sep):
    from sep_protocol import __version__

    for option in ("--version", "-V"):
        assert sep(option).stdout == f"sep {__version__}\n"
    for command in ("run", "route", "models"):
        assert command in sep("--help").stdout
    assert "--overwrite" in sep("run", "--help").stdout


def test_resume_of_a_folder(sep, clip, with_tiny, tmp_path):
    (tmp_path / "album" / "cd 2").mkdir(parents=True)
    for name in ("a.wav", "cd 2/a.wav", "cd 2/b.wav"):
        (tmp_path / "album" / name).write_bytes(clip.read_bytes())
    sep("run", "album/a.wav", *with_tiny)
    done = json.loads(sep("run", "album", "--resume", "--json", *with_tiny).stdout)
    assert [each["resumed"] for each in done["tracks"]] == [True, False, False]
    assert (tmp_path / "separated" / "cd 2" / "b" / "kick.wav").exists()


def test_dry_run_in_json(sep, clip, with_tiny):
    found = json.loads(sep("run", clip, *with_tiny, "--dry-run", "--json").stdout)
    job = re.search(r"-m sep_runtime (\S+)", found["command"])[1]
    assert json.loads(Path(job).read_text())["tracks"][0]["audio"] == str(clip)
    out = str(clip.parent / "separated" / "clip")
    assert found["dry_run"]["tracks"] == [
        {"mix": str(clip), "out": out, "files": [], "action": "separate"}
    ]


def test_a_dry_run_lists_what_would_be_read_and_written(sep, clip, tmp_path, home):
    """And leaves nothing, not even a job's file in the cache."""
    for name in ("a", "b"):
        (tmp_path / "album").mkdir(exist_ok=True)
        (tmp_path / "album" / f"{name}.wav").write_bytes(clip.read_bytes())
    (tmp_path / "separated" / "b").mkdir(parents=True)
    (tmp_path / "separated" / "b" / "sep.json").write_text("{}")
    before = {each for each in tmp_path.rglob("*") if home not in each.parents}
    told = {}
    for option in ("", "--resume", "--overwrite"):
        done = sep("run", "album", "--stems", "hh,kick", "--dry-run", *filter(None, [option]))
        assert done.stdout == ""
        told[option] = done.stderr
        first = f"{Path('album', 'a.wav')} -> {Path('separated', 'a')}\n"
        assert first in done.stderr
        assert "     in each: kick.wav  hihat.wav\n" in done.stderr
        assert "nothing was done" in done.stderr
    assert "(is there already: would be refused)" in told[""]
    assert f"a run would end here: {tmp_path / 'separated' / 'b'} exists already" in told[""]
    assert "(is there already: left if it is of the same song" in told["--resume"]
    assert "(is there already: would be replaced)" in told["--overwrite"]
    assert not any("would end" in told[option] for option in ("--resume", "--overwrite"))
    assert {each for each in tmp_path.rglob("*") if home not in each.parents} == before
    assert not list(home.rglob("job.json"))


def test_one_thing_to_do_is_said_once(sep, clip):
    done = sep("run", clip, "--model", "drumsep", check=16)
    assert done.stderr.count("sep models pull") == 1
    assert "is not installed [no-model]" in done.stderr


def test_a_home_that_cannot_be_written(sep, clip, with_tiny):
    sep("run", clip, *with_tiny, env={"SEP_HOME": "/proc/nothing", "HOME": "/proc/nothing"})


def test_nothing_typed_is_help(sep):
    for words in ((), ("models",), ("-h",), ("run", "-h")):
        assert "Usage" in sep(*words).stdout


def test_stems_of_the_bundled_model_are_checked_before_anything_starts(sep, clip):
    done = sep("run", clip, "--stems", "kick,bass", "--dry-run", check=2)
    assert "'bass'" in done.stderr
    assert "cymbals" in done.stderr
