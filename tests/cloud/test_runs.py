"""`sep run` with addresses as a person types it: the real command, runtime and files."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from sep_launcher.engines import staging

SECRETS = ("s3cr3t-that-nobody-may-see", "AKIDNOTFORYOU")


@pytest.fixture
def with_tiny(tiny):
    return ["--model", tiny[0], "--model-config", tiny[1]]


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """The folder that runs stage in."""
    folder = tmp_path / "stage"
    folder.mkdir()
    monkeypatch.setenv("SEP_STAGE", str(folder))
    return folder


@pytest.fixture
def begun(home, tmp_path, stage, with_tiny):
    """Start the command and return it; it is gone at the end."""
    started = []

    def start(*args):
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sep_launcher", "run", *map(str, args), *with_tiny],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "SEP_STAGE": str(stage)},
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def until(what, seconds=60):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_run_from_a_bucket_into_it(sep, bucket, wav, stage, with_tiny):
    """The same command again makes none."""
    bucket.put("in/live/a song.wav", wav())
    where = (f"{bucket.url}/in", "-o", f"{bucket.url}/out", *with_tiny)
    done = sep("run", *where, "--json")
    (track,) = json.loads(done.stdout)["tracks"]
    assert track["mix"] == f"{bucket.url}/in/live/a song.wav"
    assert track["out"] == f"{bucket.url}/out/live/a song"
    assert set(track["stems"].values()) < {f"{bucket.url}/{key}" for key in bucket.keys("out/")}
    assert bucket.json("out/live/a song/sep.json")["mix"]["path"] == track["mix"]
    assert list(stage.iterdir()) == []
    again = sep("run", *where, "--resume", env={"SEP_RUNTIME_PYTHON": sys.executable})
    assert "done before" in again.stderr


@pytest.mark.slow
def test_the_stems_are_those_of_a_run_on_this_disk(sep, bucket, wav, tmp_path, with_tiny):
    bucket.put("in/a.wav", wav())
    (tmp_path / "a.wav").write_bytes(wav())
    sep("run", "a.wav", *with_tiny)
    sep("run", f"{bucket.url}/in", "-o", f"{bucket.url}/out", *with_tiny)
    stems = list((tmp_path / "separated" / "a").glob("*.wav"))
    assert stems
    for stem in stems:
        assert bucket.get(f"out/a/{stem.name}") == stem.read_bytes()


@pytest.mark.parametrize(
    ("named", "out", "code", "told"),
    [
        ("s3://no-such-bucket/in/", "out", 3, "could not be listed"),
        ("{bucket}/in/", "s3://no-such-bucket/out", 3, "could not be listed"),
        ("s3://me:hunter2@bucket/in/", "out", 2, "with a password is not taken"),
    ],
)
def test_what_is_wrong_is_told_before_any_work(
    sep, bucket, wav, tmp_path, with_tiny, named, out, code, told
):
    bucket.put("in/a.wav", wav())
    done = sep("run", named.format(bucket=bucket.url), "-o", out, *with_tiny, check=code)
    assert told in done.stderr
    assert "hunter2" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_dry_run_tells_what_would_be_done(sep, bucket, wav, with_tiny):
    bucket.put("in/a.wav", wav())
    done = sep("run", f"{bucket.url}/in", "-o", f"{bucket.url}/out", "--dry-run", *with_tiny)
    assert f"{bucket.url}/in/a.wav -> {bucket.url}/out/a" in done.stderr
    assert bucket.keys() == ["in/a.wav"]


@pytest.mark.slow
def test_a_launcher_that_is_killed_before_the_report_leaves_no_track(
    sep, faulty, proxy, wav, stage, begun, with_tiny
):
    """Readers see no report; the next run makes the track and clears this disk."""
    faulty.put("in/a.wav", wav())
    at_it = threading.Event()

    def fault(method, path, body):
        if method == "PUT" and path.endswith("/out/a/sep.json"):
            at_it.set()
            return ("status", 503, "SlowDown")
        return None

    proxy.fault = fault
    killed = begun(f"{faulty.url}/in", "-o", f"{faulty.url}/out")
    until(at_it.is_set)
    killed.kill()
    killed.wait()
    proxy.fault = lambda *_: None
    assert "out/a/kick.wav" in faulty.keys("out/")
    assert "out/a/sep.json" not in faulty.keys("out/")
    assert [each.name[:11] for each in stage.iterdir()] == [".sep-stage-"]
    done = sep("run", f"{faulty.url}/in", "-o", f"{faulty.url}/out", "--resume", *with_tiny)
    assert "done: 5 stems" in done.stderr
    assert list(stage.iterdir()) == []
    names = {each.removeprefix("out/a/") for each in faulty.keys("out/")}
    assert names == {f"{each}.wav" for each in faulty.json("out/a/sep.json")["stems"]} | {
        "sep.json"
    }


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_here(bucket, wav, stage, begun):
    bucket.put("in/a.wav", wav(120))
    bucket.put("in/b.wav", wav(1))
    process = begun(f"{bucket.url}/in", "-o", f"{bucket.url}/out", "--events")
    for line in process.stdout:
        if json.loads(line)["event"] == "progress":
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert list(stage.iterdir()) == []
    assert bucket.keys("out/") == []


@pytest.mark.slow
def test_credentials_appear_nowhere(sep, faulty, proxy, wav, stage, home, tmp_path, with_tiny):
    """In nothing that is said, stored or kept: of a run that works, of refusals, of the doctor."""
    for name in "abc":
        faulty.put(f"in/{name}.wav", wav())

    def fault(method, path, body):
        for secret in SECRETS:
            assert secret.encode() not in body
        if "/in/b.wav" in path and method == "GET":
            return ("status", 403, "InvalidAccessKeyId")
        if "/out/c/" in path and method == "PUT":
            return ("status", 500, "InternalError")
        return None

    proxy.fault = fault
    told = []
    for more in (["--events", "--verbose"], ["--json", "--overwrite"], ["--dry-run", "--json"]):
        args = (f"{faulty.url}/in", "-o", f"{faulty.url}/out", *more, *with_tiny)
        done = sep("run", *args, check=None)
        told.append(done.stdout + done.stderr)
        assert done.returncode == (0 if "--dry-run" in more else 1)
    proxy.fault = lambda *_: ("status", 403, "SignatureDoesNotMatch")
    told.append(sep("run", f"{faulty.url}/in", *with_tiny, check=3).stderr)
    done = sep("doctor", "--bundle", "bundle.json", check=None)
    told.append(done.stdout + done.stderr)
    told += [faulty.get(key).decode("latin-1") for key in faulty.keys("")]
    kept = [each for each in (*home.rglob("*"), *tmp_path.rglob("*")) if each.is_file()]
    told += [each.read_bytes().decode("latin-1") for each in kept]
    assert any("could not be fetched" in each for each in told)
    for secret in SECRETS:
        assert not any(secret in each for each in told)


@pytest.mark.slow
def test_a_library_within_little_room(sep, faulty, proxy, wav, stage, with_tiny):
    """Faults now and then, room for two songs: all are done, no more is staged than may be."""
    for name in "abcde":
        faulty.put(f"in/{name}.wav", wav(2, seed=ord(name)))
    count = iter(range(10**6))
    proxy.fault = lambda *_: ("status", 503, "SlowDown") if next(count) % 7 == 3 else None
    most, over = [0], threading.Event()

    def watch():
        while not over.wait(0.01):
            most[0] = max(most[0], staging.size(stage))

    watcher = threading.Thread(target=watch)
    watcher.start()
    limit = 6 << 20
    try:
        sep(
            "run",
            f"{faulty.url}/in",
            "-o",
            f"{faulty.url}/out",
            "--stage-limit",
            "6m",
            *with_tiny,
            timeout=300,
        )
    finally:
        over.set()
        watcher.join()
    assert sum(each.endswith("/sep.json") for each in faulty.keys("out/")) == 5
    assert (1 << 20) < most[0] <= limit
    assert list(stage.iterdir()) == []
