"""Job files: written somewhere, whatever is full or closed, and gone when their launcher is."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from sep_launcher.engines import job_files
from sep_launcher.machine import paths
from sep_protocol import Job, Model, Track, load_job
from sep_protocol.errors import PathError

DAYS = 24 * 3600.0


def job(number=0):
    track = Track(audio="/m/caf\udce9.wav", out="/o/caf\udce9")
    return Job(id=f"{number:08x}", tracks=(track,), model=Model(name="m"))


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(params=["cache", "temporary"])
def place(request, home, temporary):
    """Where job files go: the cache, or the temporary folder where there is no cache."""
    if request.param == "cache":
        return paths.jobs()
    paths.cache().parent.mkdir(parents=True)
    paths.cache().touch()
    return temporary


def test_the_file_is_there_and_then_gone(place):
    with job_files.held(job()) as path:
        assert path.parent.parent == place
        assert path.read_bytes().isascii()
        assert load_job(path.read_text(encoding="utf-8")) == job()
        job_files.sweep()
        assert path.exists()
    assert list(place.iterdir()) == []


def test_what_a_killed_launcher_left_is_swept(place):
    code = (
        "import json, sys, time\n"
        "from sep_launcher.engines import job_files\n"
        "from sep_protocol import load_job\n"
        "with job_files.held(load_job(sys.stdin.readline())) as path:\n"
        "    print(path, flush=True)\n"
        "    time.sleep(600)\n"
    )
    from dataclasses import asdict

    with subprocess.Popen(
        [sys.executable, "-P", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": tempfile.gettempdir()},
    ) as launcher:
        launcher.stdin.write(json.dumps(asdict(job(1))) + "\n")
        launcher.stdin.flush()
        path = Path(launcher.stdout.readline().rstrip("\n"))
        with job_files.held(job(2)):
            assert path.exists()  # it lives
        launcher.send_signal(signal.SIGKILL)
        launcher.wait()
    assert path.exists()
    with job_files.held(job(3)):
        assert not path.parent.exists()
    assert list(place.iterdir()) == []


def test_what_a_dry_run_keeps_has_its_time(place):
    path = job_files.kept(job(1))
    then = time.time() - 6 * DAYS
    os.utime(path.parent, (then, then))
    with job_files.held(job(2)):
        assert path.exists()
    then = time.time() - 8 * DAYS
    os.utime(path.parent, (then, then))
    with job_files.held(job(2)):
        assert not path.exists()


def test_what_is_not_ours_is_left_alone(home, temporary):
    old = time.time() - 100 * DAYS
    mine = [
        paths.jobs() / "thesis" / "job.json",
        paths.jobs() / "0123abcd" / "notes.txt",
        paths.jobs() / "lock",
        temporary / "sep-job-x" / "song.wav",
        temporary / "sep-x" / "job.json",
    ]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path.parent, (old, old))
    target = temporary / "target"
    target.mkdir()
    (target / "job.json").touch()
    os.utime(target, (old, old))
    (temporary / "sep-job-link").symlink_to(target)
    if os.getuid() == 0:
        foreign = temporary / "sep-job-foreign"
        foreign.mkdir()
        (foreign / "job.json").touch()
        os.chown(foreign, 12345, 12345)
        os.utime(foreign, (old, old))
        mine.append(foreign / "job.json")
    job_files.sweep()
    for path in [*mine, target / "job.json"]:
        assert path.exists()


def test_nowhere_to_write_is_told(home, monkeypatch):
    paths.cache().parent.mkdir(parents=True)
    paths.cache().touch()
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nothing")
    with (
        pytest.raises(PathError, match="job's file cannot be written") as caught,
        job_files.held(job()),
    ):
        pass
    assert "TMPDIR" in caught.value.hint


def test_a_disk_that_is_full_leaves_nothing(home, temporary):
    """The folders can be made, the file cannot be written: as with a quota, or without room."""
    code = (
        "import resource, sys, tempfile\n"
        "from sep_launcher.engines import job_files\n"
        "from sep_protocol import Job, Model\n"
        "from sep_protocol.errors import PathError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "try:\n"
        "    with job_files.held(Job(id='0' * 8, tracks=(), model=Model(name='m'))): pass\n"
        "except PathError as fault:\n"
        "    sys.exit(fault.message)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
        check=False,
    )
    assert "cannot be written: " in done.stderr
    assert "Traceback" not in done.stderr
    assert list(paths.jobs().iterdir()) == []
    assert list(temporary.iterdir()) == []
