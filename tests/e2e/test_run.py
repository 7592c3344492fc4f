"""`sep run` as a person types it, with the bundled model and the shipped example."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

GROOVE = Path(__file__).parent.parent.parent / "examples" / "groove.flac"
STEMS = ["kick", "snare", "toms", "hihat", "cymbals"]


@pytest.fixture
def with_tiny(tiny):
    return ["--model", tiny[0], "--model-config", tiny[1]]


@pytest.fixture
def clip(tmp_path, noise):
    path = tmp_path / "clip.wav"
    soundfile.write(path, noise(2, 30000).T, 44100)
    return path


def test_the_first_command_of_the_readme(sep, tmp_path):
    done = sep("run", GROOVE)
    assert done.stdout == ""
    first = done.stderr.splitlines()[0]
    assert first.startswith(("sep: native cpu (", "sep: native cuda (", "sep: native mps ("))
    assert "by the model mdx23c-mini (it expects drums)" in done.stderr
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
    assert "failed: b.wav: b.wav cannot be read as audio" in done.stderr
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
        ["bash", "-c", sep(*command, "--dry-run").stdout],
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
    verbose = sep("run", clip, *with_tiny, "--verbose", "--overwrite")
    assert "not container cpu:" in verbose.stderr


def test_events_are_the_runtimes(sep, clip, with_tiny):
    done = sep("run", clip, *with_tiny, "--events", "--quiet")
    kinds = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert (kinds[0], kinds[-1]) == ("hello", "done")
    assert "device" in kinds


def test_dry_run_prints_a_command_that_does_the_job(sep, clip, with_tiny, tmp_path):
    done = sep("run", clip, *with_tiny, "--dry-run")
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


@pytest.fixture
def long_run(home, tmp_path, with_tiny):
    """A run of many minutes, in its own session, seen at work: (process, pid of the runtime)."""
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros((44100 * 900, 1), np.int16), 44100)
    started = []

    def start(*, ignored=()):
        def reset():  # these tests may themselves run where a shell ignores interrupts
            for each in (signal.SIGINT, signal.SIGHUP):
                signal.signal(each, signal.SIG_IGN if each in ignored else signal.SIG_DFL)

        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sep_launcher", "run", path, "--events", *with_tiny],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            start_new_session=True,
            preexec_fn=reset,  # noqa: PLW1509 (no threads here)
        )
        started.append(process)
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "progress" and event["done"]:
                break
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        runtime = next(
            c for c in children if b"sep_runtime" in Path(f"/proc/{c}/cmdline").read_bytes()
        )
        return process, int(runtime)

    yield start
    for process in started:
        process.kill()
        process.communicate()


def gone(pid, seconds=40.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state == "Z":  # dead, and nobody in this container reaps orphans
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupts_leave_nothing(long_run, tmp_path, number, home):
    process, child = long_run()
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "interrupted" in told
    assert gone(child, 1)
    assert not (tmp_path / "separated").exists()
    assert list((home / "sep" / "cache" / "sep" / "jobs").iterdir()) == []


def test_nohup_is_respected(long_run):
    process, child = long_run(ignored=[signal.SIGHUP])
    process.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert process.poll() is None
    assert not gone(child, 0.2)


def test_kill_9_of_the_launcher_ends_the_runtime(long_run, tmp_path):
    process, child = long_run()
    process.kill()
    assert gone(child)
    assert not (tmp_path / "separated").exists()


def test_kill_9_of_the_runtime_is_told_and_swept(long_run, tmp_path):
    process, child = long_run()
    os.kill(child, signal.SIGKILL)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 15, told
    assert "signal 9" in told
    assert "memory" in told
    assert "[killed]" in told
    assert not (tmp_path / "separated").exists()  # it was made for this run


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


@pytest.mark.parametrize("words", ["--seconds nan", "--seconds 1e300", "--runs 9999999999999"])
def test_benches_without_an_end_are_refused(sep, words):
    assert words.split()[0] in sep("bench", *words.split(), check=2).stderr


def test_bench(sep, with_tiny):
    done = sep("bench", "--seconds", "0.5", "--runs", "1", *with_tiny)
    assert "demix" in done.stdout
    assert "x real time" in done.stdout
    found = json.loads(sep("bench", "--seconds", "0.5", "--runs", "1", "--json", *with_tiny).stdout)
    assert [each["scheme"] for each in found["bench"]["measured"]] == ["sep", "demix", "uvr"]
    assert found["tracks"] == []


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
    assert "-m sep_runtime" in found["command"]


def test_a_home_that_cannot_be_written(sep, clip, with_tiny):
    sep("run", clip, *with_tiny, env={"SEP_HOME": "/proc/nothing", "HOME": "/proc/nothing"})


def test_nothing_typed_is_help(sep):
    for words in ((), ("models",), ("-h",), ("run", "-h")):
        assert "Usage" in sep(*words).stdout


def test_stems_of_the_bundled_model_are_checked_before_anything_starts(sep, clip):
    done = sep("run", clip, "--stems", "kick,bass", "--dry-run", check=2)
    assert "'bass'" in done.stderr
    assert "cymbals" in done.stderr
