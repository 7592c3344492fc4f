"""Many tracks on many workers, by the real command; most with a runtime that needs no torch."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

spec = importlib.util.spec_from_file_location(
    "fake_runtime", Path(__file__).parent.parent / "fake_runtime.py"
)
fake_runtime = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fake_runtime)


@pytest.fixture
def library(home, tmp_path, monkeypatch):
    """A folder of tracks of these names, for a runtime that does what they say."""
    notes = tmp_path / "notes"
    notes.mkdir()
    monkeypatch.setenv("SEP_RUNTIME_PYTHON", fake_runtime.installed(tmp_path))
    monkeypatch.setenv("SEP_FAKE_NOTES", str(notes))
    folder = tmp_path / "music"
    folder.mkdir()

    def make(*names):
        for number, name in enumerate(names):
            (folder / f"{name}.wav").write_bytes(bytes(1000 - number))  # the first is the largest
        return folder

    make.notes = lambda what: [each for each in fake_runtime.notes(notes) if each["what"] == what]
    make.out = tmp_path / "separated"
    make.folder = folder
    return make


def run(sep, library, *words, check=0, **options):
    return sep("run", library.folder, "-o", library.out, *words, check=check, **options)


def reports(library):
    return sorted(each.parent.name for each in library.out.rglob("sep.json"))


def songs(library, *names, seconds):
    """Make tracks that a header says are so long; their samples take no space."""
    library(*names)
    size = int(seconds * 176400)
    head = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", size + 36, b"WAVE", b"fmt ", 16, 1, 2, 44100, 176400, 4, 16
    )
    for name in names:
        with (library.folder / f"{name}.wav").open("wb") as file:
            file.write(head + struct.pack("<4sI", b"data", size))
            file.truncate(size + 44)


def statuses(sep, library):
    done = sep("library", "status", library.out, "--json", check=None)
    found = json.loads(done.stdout)["runs"] if done.returncode < 2 else []
    return {each["shard"]: each for each in found}


def hidden(library):
    return [each for each in library.out.rglob(".sep-*") if each.name != ".sep-run"]


def launched(library, *words):
    words = ["run", library.folder, "-o", library.out, *words]
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "sep_launcher", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(going):
    """Wait for a command; return its code and what it told."""
    _, told = going.communicate(timeout=30)
    return going.returncode, told


def until(found, seconds=30):
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)
    return value


def gone(pids):
    return not any(map(psutil.pid_exists, pids))


def test_every_track_is_done_once_by_workers_that_load_once(sep, library):
    library(*[f"ok-20ms-{number}" for number in range(30)])
    done = run(sep, library, "-j", "3", "--events")
    assert len(reports(library)) == 30
    assert len(library.notes("begin")) == 30
    assert len(library.notes("load")) == 3
    events = [json.loads(line) for line in done.stdout.splitlines()]
    ends = [each for each in events if each["event"] == "track-done"]
    assert sorted(each["track"] for each in ends) == list(range(30))
    assert {each["worker"] for each in ends} == {"cpu-1", "cpu-2", "cpu-3"}
    assert {each["attempt"] for each in ends} == {1}
    assert events[-1] == {**events[-1], "event": "done", "done": 30, "failed": 0}
    assert sum(each["event"] in ("done", "failed") for each in events) == 1
    named = {each["track"]: Path(each["out"]).name for each in ends}
    assert named == {n: f"ok-20ms-{name}" for n, name in enumerate(sorted(map(str, range(30))))}


def test_threads_are_shared(sep, library):
    library("ok-1", "ok-2")
    run(sep, library, "-j", "2")
    shares = [each["environment"]["OMP_NUM_THREADS"] for each in library.notes("start")]
    assert len(shares) == 2
    assert sum(map(int, shares)) <= max(2, os.cpu_count())


def test_one_track_needs_one_worker(sep, library):
    library("ok")
    run(sep, library, "-j", "4")
    assert len(library.notes("start")) == 1


def test_a_death_is_its_tracks_alone(sep, library):
    library("ok-1", "crash-2", "ok-2", "ok-3")
    document = json.loads(run(sep, library, "-j", "2", "--json").stdout)
    assert reports(library) == ["crash-2", "ok-1", "ok-2", "ok-3"]
    tries = [each for each in library.notes("begin") if each["track"] == "crash-2"]
    assert [each["batch"] for each in tries] == [None, 1, 1]
    assert len(library.notes("begin")) == 6
    by = {Path(each["out"]).name: each for each in document["tracks"]}
    assert by["crash-2"]["attempt"] == 3
    assert by["ok-1"]["attempt"] == 1
    assert [each["name"] for each in document["workers"]] == ["cpu-1", "cpu-2"]
    assert sum("is tried again" in each for each in document["warnings"]) == 2
    assert not hidden(library)


def test_a_poison_track_is_quarantined_and_the_others_are_done(sep, library):
    library("crash", *[f"ok-{number}" for number in range(9)])
    document = json.loads(run(sep, library, "-j", "2", "--json", check=1).stdout)
    assert len(reports(library)) == 9
    (bad,) = [each for each in document["tracks"] if not each["done"]]
    assert bad["error"] == "QuarantinedError"
    assert "died at it 3 times" in bad["message"]
    assert "signal 9" in bad["message"]
    assert bad["attempt"] == 3
    assert not hidden(library)


def test_where_every_track_dies_the_machine_is_to_blame(sep, library):
    library(*[f"crash-{letter}" for letter in "abcdefgh"])
    done = run(sep, library, "-j", "2", check=15)
    assert "3 tracks died one after the other" in done.stderr
    assert len(library.notes("begin")) <= 4
    assert not reports(library)


def test_short_memory_is_tried_again_with_less(sep, library):
    library("oom", "ok", "always-oom")
    document = json.loads(run(sep, library, "-j", "2", "--json", check=1).stdout)
    assert reports(library) == ["ok", "oom"]
    (bad,) = [each for each in document["tracks"] if not each["done"]]
    assert bad["error"] == "QuarantinedError"
    assert bad["attempt"] == 4  # the first time was free


def test_bad_audio_is_tried_once(sep, library):
    library("fail", "ok-1", "ok-2")
    run(sep, library, "-j", "2", check=1)
    assert sum(each["track"] == "fail" for each in library.notes("begin")) == 1


def test_who_hangs_is_killed_and_its_track_done_by_another_try(sep, library):
    library("hang-1", "ok-1", "ok-2")
    done = run(sep, library, "-j", "2", env={"SEP_HANG_SECONDS": "1.5"})
    assert len(reports(library)) == 3
    assert "nothing was heard" in done.stderr


@pytest.mark.parametrize("seconds", ["soon", "0", "-1", "nan"])
def test_a_time_that_is_none(sep, library, seconds):
    library("ok-1", "ok-2")
    done = run(sep, library, "-j", "2", check=2, env={"SEP_HANG_SECONDS": seconds})
    assert "SEP_HANG_SECONDS" in done.stderr


@pytest.mark.parametrize(("fault", "code"), [("device", 13), ("model", 16), ("ready", 12)])
def test_what_is_wrong_with_the_machine_ends_the_run(sep, library, fault, code):
    library(*[f"ok-{number}" for number in range(4)])
    run(sep, library, "-j", "2", check=code, env={"SEP_FAKE_FAULT": fault})
    assert not reports(library)


def test_a_runtime_of_another_version(sep, library):
    library("ok-1", "ok-2")
    run(sep, library, "-j", "2", check=12, env={"SEP_FAKE_VERSION": "0.0.1"})


def test_kill_9_of_a_child(sep, library):
    library("slow-1s-a", "ok-1", "ok-2", "ok-3")
    going = launched(library, "-j", "2")
    victim = until(lambda: [each for each in library.notes("begin") if "slow" in each["track"]])
    os.kill(victim[0]["pid"], signal.SIGKILL)
    assert ended(going)[0] == 0
    assert len(reports(library)) == 4
    begun = [each["track"] for each in library.notes("begin")]
    assert sorted(begun) == ["ok-1", "ok-2", "ok-3", "slow-1s-a", "slow-1s-a"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_whole_tracks_and_no_process(sep, library, number):
    library("ok-1", "ok-2", "slow-20s-a", "slow-20s-b")
    going = launched(library, "-j", "2")
    until(lambda: sum("slow" in each["track"] for each in library.notes("begin")) == 2)
    pids = {each["pid"] for each in library.notes("start")}
    going.send_signal(number)
    code, told = ended(going)
    assert code == 130
    assert "--resume" in told
    assert gone(pids)
    assert reports(library) == ["ok-1", "ok-2"]
    assert not hidden(library)


def test_kill_9_of_the_launcher_ends_everybody_and_the_next_run_goes_on(sep, library):
    library("ok-1", "ok-2", "slow-20s-a", "slow-20s-b")
    going = launched(library, "-j", "2")
    until(lambda: sum("slow" in each["track"] for each in library.notes("begin")) == 2)
    pids = {each["pid"] for each in library.notes("start")}
    going.kill()
    ended(going)
    until(lambda: gone(pids), 10)
    for name in ("slow-20s-a", "slow-20s-b"):
        (library.folder / f"{name}.wav").unlink()
    library("ok-3")
    run(sep, library, "-j", "2", "--resume")
    assert reports(library) == ["ok-1", "ok-2", "ok-3"]
    assert sum(each["track"] in ("ok-1", "ok-2") for each in library.notes("begin")) == 2


def test_what_is_quarantined_stays_so_until_it_is_asked_for(sep, library):
    library("crash-3", "ok-1", "ok-2")
    run(sep, library, "-j", "2", check=1)
    again = json.loads(run(sep, library, "-j", "2", "--resume", "--json", check=1).stdout)
    (bad,) = [each for each in again["tracks"] if not each["done"]]
    assert "died at it 3 times" in bad["message"]
    assert "--retry-quarantined" in bad["hint"]
    assert len(library.notes("begin")) == 5  # nobody tried
    run(sep, library, "-j", "2", "--resume", "--retry-quarantined")
    assert reports(library) == ["crash-3", "ok-1", "ok-2"]


def test_two_runs_on_one_folder(sep, library):
    library("slow-4s-a", "slow-4s-b", "ok-1", "ok-2")
    first = launched(library, "-j", "2")
    until(lambda: len(library.notes("begin")) == 2)
    refused = run(sep, library, "-j", "2", "--resume", check=3)
    assert f"process {first.pid}" in refused.stderr
    assert "--take-over" in refused.stderr
    run(sep, library, "-j", "2", "--resume", "--take-over")
    code, _ = ended(first)
    assert code in (0, 130)  # the last track may have come before the look
    assert reports(library) == ["ok-1", "ok-2", "slow-4s-a", "slow-4s-b"]
    assert not hidden(library)


@pytest.mark.slow
def test_status_while_it_runs_and_after(sep, library):
    library("slow-6s", "fail", "ok-1", "crash")
    going = launched(library, "-j", "2")

    def shown():
        done = sep("library", "status", library.out, "--json", check=None)
        found = json.loads(done.stdout) if done.returncode < 2 else {"runs": [{}]}
        return found["runs"][0]

    state = until(lambda: found if (found := shown()).get("bad") else None)
    assert state["state"] == "running"
    assert state["tracks"] == 4
    assert state["pid"] == going.pid
    assert ended(going)[0] == 1
    state = shown()
    assert (state["state"], state["exit_code"], state["done"], state["left"]) == ("ended", 1, 2, 0)
    assert {each["error"] for each in state["bad"]} == {"AudioError", "QuarantinedError"}
    told = sep("library", "status", library.out, check=1).stdout
    assert "2 of 4 done, 2 not" in told
    assert "quarantined" in told


def test_status_of_a_run_that_was_killed(sep, library):
    library("slow-20s-a", "slow-20s-b")
    going = launched(library, "-j", "2")
    until(lambda: len(library.notes("begin")) == 2)
    going.kill()
    ended(going)
    assert "run: dead" in sep("library", "status", library.out, check=1).stdout


def test_a_plain_run_that_goes_on_keeps_the_status_and_the_quarantine(sep, library):
    library("crash", "ok-1", "ok-2")
    run(sep, library, "-j", "2", check=1)
    done = run(sep, library, "--resume", check=1)
    assert "died at it 3 times" in done.stderr
    assert len([each for each in library.notes("begin") if each["track"] == "crash"]) == 3
    (library.folder / "crash.wav").unlink()
    assert "2 of them done before" in run(sep, library, "--resume").stderr
    assert "2 of 2 done, 2 of them before" in sep("library", "status", library.out).stdout
    run(sep, library, "-o", library.out / "new")
    assert not (library.out / "new" / ".sep-run").exists()


def test_one_worker_that_was_asked_for_by_auto_notes_how_it_is(sep, library):
    library("ok-1")
    run(sep, library, "-j", "auto")
    assert "1 of 1 done" in sep("library", "status", library.out).stdout


def test_a_shard_that_never_was_is_told(sep, library):
    library(*[f"ok-{number}" for number in range(6)])
    run(sep, library, "--shard", "1/2")
    told = sep("library", "status", library.out, check=1).stdout
    assert "shard 0/2: nothing was heard of it" in told
    run(sep, library, "--shard", "0/2")
    run(sep, library, "--resume", "-j", "2")
    told = sep("library", "status", library.out).stdout
    assert "all shards: 6 of 6 done" in told


def test_status_of_nothing(sep, tmp_path):
    done = sep("library", "status", tmp_path, check=3)
    assert "--jobs" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["-j", "0"],
        ["-j", "many"],
        ["-j", "1", "--device", "cuda:0,1"],
        ["--device", "cpu,cpu"],
        ["--device", "cpu,auto"],
        ["--device", "cuda:all,cuda:1"],
        ["--device", "cpu,1"],
        ["--device", "gpu:all"],
    ],
)
def test_devices_and_jobs_that_make_no_sense(sep, library, words):
    library("ok-1", "ok-2", "ok-3")
    done = run(sep, library, *words, check=None)
    # A GPU that is not here is told before there are too few jobs for two.
    assert done.returncode in ((2, 13) if "cuda:0,1" in words else (2,)), done.stderr
    assert not library.notes("start")


def test_a_device_twice_says_what_to_type_instead(sep, library):
    library("ok-1", "ok-2")
    done = run(sep, library, "--device", "cpu,cpu", check=2)
    assert "--device names cpu twice" in done.stderr
    assert "-j N makes many of one" in done.stderr


def test_devices_that_are_not_here(sep, library):
    library("ok-1", "ok-2", "ok-3")
    done = run(sep, library, "--device", "cuda:all", check=13)
    assert "GPU" in done.stderr
    run(sep, library, "--device", "mps,cpu", check=13)
    assert not library.notes("start")


def test_a_terminal_has_a_line_for_each_worker(library):
    library(*[f"slow-400ms-{number}" for number in range(4)])
    code = (
        "import pty, sys; sys.exit(pty.spawn([sys.executable, '-P', '-m', 'sep_launcher', 'run', "
        f"{str(library.folder)!r}, '-o', {str(library.out)!r}, '-j', '2']) >> 8)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "cpu-1  slow-400ms" in done.stdout
    assert "cpu-2  slow-400ms" in done.stdout
    assert "2/4" in done.stdout
    assert "real time" in done.stdout


def test_three_shards_at_once_on_one_output(sep, library):
    """As a scheduler starts them: each has a ledger of its own, the status is of all."""
    library(*[f"ok-50ms-{number}" for number in range(24)], "fail")
    going = [launched(library, "--shard", f"{each}/3") for each in range(3)]
    codes = [ended(each)[0] for each in going]
    assert sorted(codes) == [0, 0, 1]
    assert len(reports(library)) == 24
    begun = [each["track"] for each in library.notes("begin")]
    assert len(begun) == len(set(begun)) == 25
    names = sorted(each.name for each in (library.out / ".sep-run").iterdir())
    assert names == [f"run-{each}-of-3.1.json" for each in range(3)]
    found = statuses(sep, library)
    assert list(found) == ["0/3", "1/3", "2/3"]
    assert sum(each["tracks"] for each in found.values()) == 25
    assert sum(each["done"] for each in found.values()) == 24
    assert [each["exit_code"] for each in found.values()] == codes
    told = sep("library", "status", library.out, check=1).stdout
    assert "shard 1/3: ended with code" in told
    assert "all shards: 24 of 25 done, 1 not" in told
    assert not hidden(library)


def test_a_shard_that_was_killed_goes_on_beside_another(sep, library):
    library(*[f"slow-300ms-{number}" for number in range(16)])
    words = [["--shard", f"{each}/2", "--resume"] for each in range(2)]
    first, second = (launched(library, *each) for each in words)

    def of_first(what):
        mine = {each["pid"] for each in library.notes("start") if each["ppid"] == first.pid}
        return [each for each in library.notes(what) if each["pid"] in mine]

    until(lambda: len(of_first("end")) >= 2)
    before = set(reports(library))
    first.kill()
    ended(first)
    dead = statuses(sep, library)["0/2"]
    assert dead["state"] == "dead"
    run(sep, library, *words[0])
    assert ended(second)[0] == 0
    assert len(reports(library)) == 16
    tries = [each["track"] for each in library.notes("begin")]
    assert len(tries) <= 17  # the one that was under way
    assert all(tries.count(each) == 1 for each in before)
    found = statuses(sep, library)
    assert [each["state"] for each in found.values()] == ["ended", "ended"]
    assert sum(each["done"] for each in found.values()) == 16
    assert found["0/2"]["before"] >= 1
    assert not hidden(library)


def test_a_shard_of_nothing_is_done(sep, library):
    library("ok")
    codes = [run(sep, library, "--shard", f"{each}/8").returncode for each in range(8)]
    assert codes == [0] * 8
    assert len(library.notes("begin")) == 1


@pytest.mark.parametrize("words", [["-j", "2"], ["--shard", "0/1"]])
def test_an_output_that_cannot_be_written(sep, library, small, words):
    library("ok-1", "ok-2")
    library.out = small / "out"
    mounted = subprocess.run(["mount", "-o", "remount,ro", small], check=False)
    if mounted.returncode:
        pytest.skip("a disk cannot be made read-only here")
    done = run(sep, library, *words, check=3)
    assert "Read-only file system" in done.stderr
    assert not library.notes("start")


@pytest.mark.parametrize("words", [["-j", "2"], ["--shard", "0/1"]])
def test_a_disk_that_is_too_small_is_seen_before_any_work(sep, library, small, words):
    songs(library, "ok-1", "ok-2", seconds=60)
    library.out = small / "out"
    done = run(sep, library, *words, check=3)
    assert "the stems need" in done.stderr
    assert "--format flac" in done.stderr
    assert not library.notes("start")
    assert not library.out.exists()
    dry = run(sep, library, *words, "--dry-run")
    assert "a run would end here: the stems need" in dry.stderr
    document = json.loads(run(sep, library, *words, "--dry-run", "--json").stdout)
    assert document["dry_run"]["refused"]["code"] == 3
    run(sep, library, *words, "--stems", "kick", "--format", "ogg")
    assert reports(library) == ["ok-1", "ok-2"]


def test_a_dry_run_says_how_much_it_is_and_begins_nothing(sep, library):
    songs(library, "ok-1", "ok-2", "ok-3", seconds=1200)
    told = run(sep, library, "-j", "2", "--dry-run").stderr
    assert "2 tracks at once" in told
    assert "about 60 min of audio, " in told
    assert " of stems; " in told
    assert "are free" in told
    assert "speed" not in told  # nobody knows
    assert "nothing was done" in told
    assert not library.notes("start")
    assert not library.out.exists()
    run(sep, library, "-j", "2")
    assert (
        "speed" not in run(sep, library, "-j", "2", "--overwrite", "--dry-run").stderr
    )  # too short
    (path,) = (library.out / ".sep-run").glob("run.*.json")
    state = json.loads(path.read_text())
    state["begun"], state["audio"] = state["ended"] - 100, 1200.0
    path.write_text(json.dumps(state))
    for words in (["--overwrite", "--dry-run"], ["--overwrite"]):
        told = run(sep, library, "-j", "2", *words).stderr
        assert "; about 5 min at the speed of the run before" in told
    told = run(sep, library, "-j", "2", "--resume", "--dry-run").stderr
    assert "is there already: left if" in told


def test_a_dry_run_asks_no_cluster(sep, library):
    songs(library, "ok-1", "ok-2", seconds=600)
    done = run(sep, library, "--engine", "ray", "--address", "192.0.2.1:6379", "--dry-run", "-v")
    assert "the Ray cluster is not asked" in done.stderr
    assert "about 20 min of audio" in done.stderr
    assert done.stdout == ""  # there is no command for it
    assert not library.out.exists()


@pytest.mark.skipif(shutil.which("nohup") is None, reason="there is no nohup here")
def test_a_run_that_nobody_looks_at(library):
    """Its terminal is gone: what it says are lines, and it goes on."""
    library("slow-2s", *[f"ok-{number}" for number in range(5)])
    command = ["nohup", sys.executable, "-P", "-m", "sep_launcher", "run", library.folder]
    going = subprocess.Popen(
        [*command, "-o", library.out, "-j", "2"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    until(lambda: len(library.notes("begin")) > 1)
    going.send_signal(signal.SIGHUP)
    told, _ = going.communicate(timeout=30)
    assert going.returncode == 0
    assert len(reports(library)) == 6
    assert "6/6 done: " in told or "6/6" in told
    assert told.count(" done: ") == 6
    assert "\r" not in told
    assert "\x1b" not in told


def test_a_thousand_tracks(library):
    """The launcher holds none of them; runtimes are not begun again."""
    library(*[f"ok-1ms-{number:04}" for number in range(1000)])
    going = launched(library, "-j", "2", "--quiet")
    peak = 0
    process = psutil.Process(going.pid)
    while going.poll() is None:
        try:
            peak = max(peak, process.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.02)
    assert ended(going) == (0, "")
    assert len(reports(library)) == 1000
    assert len(library.notes("begin")) == 1000
    assert len(library.notes("load")) == 2
    jobs = len({each["job"] for each in library.notes("begin")})
    assert jobs < 1000  # short tracks go out together
    assert 0 < peak < 100e6


@pytest.mark.slow
def test_two_workers_give_the_stems_of_one(sep, tiny, noise, tmp_path):
    """The real runtime: what it computes does not depend on who else works."""
    import soundfile

    folder = tmp_path / "music"
    folder.mkdir()
    for number in range(3):
        soundfile.write(folder / f"{number}.wav", noise(2, 30000, number).T, 44100)
    words = ["run", folder, "--model", tiny[0], "--model-config", tiny[1]]
    one = {"OMP_NUM_THREADS": "1"}
    sep(*words, "-o", tmp_path / "one", env=one)
    sep(*words, "-o", tmp_path / "two", "-j", "2", env=one)
    stems = sorted(each.relative_to(tmp_path / "one") for each in (tmp_path / "one").rglob("*.wav"))
    assert len(stems) > 3
    for each in stems:
        left, right = (soundfile.read(tmp_path / name / each)[0] for name in ("one", "two"))
        assert abs(left - right).max() < 1e-6
