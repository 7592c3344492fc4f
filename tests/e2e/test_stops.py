"""Ctrl-C, Ctrl-Z and kills: nothing is left, nothing works on unseen, and Python says nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]


def state(pid):
    """Return the letter of a process: R and S live, T is stopped, Z is dead; "" is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return ""


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def gone(pid, seconds=40.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if state(pid) in ("", "Z"):  # dead, and nobody in this container reaps orphans
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


def test_ctrl_c_twice_leaves_nothing(long_run, tmp_path):
    """Not the hidden folder of a track either, though the runtime had no time to clear it away."""
    (tmp_path / "separated").mkdir()
    process, child = long_run()
    assert list((tmp_path / "separated").glob(".sep-*"))
    process.send_signal(signal.SIGINT)
    until(lambda: "stopping" in process.stderr.readline())
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert gone(child, 1)
    assert list((tmp_path / "separated").iterdir()) == []


@pytest.fixture
def stopped_run(long_run):
    """A run that Ctrl-Z has stopped: the launcher, and the pid of its runtime."""
    process, child = long_run(process_group=0)
    for each in (process.pid, child):
        assert state(each) in ("R", "S")
    process.send_signal(signal.SIGTSTP)
    until(lambda: (state(process.pid), state(child)) == ("T", "T"))
    return process, child


def test_ctrl_z_stops_the_runtime_and_fg_continues_it(stopped_run):
    process, child = stopped_run
    for _ in range(2):
        process.send_signal(signal.SIGCONT)
        until(lambda: state(child) in ("R", "S") and state(process.pid) in ("R", "S"))
        for _ in range(20):  # more than the pipe may have held
            assert json.loads(process.stdout.readline())["event"] == "progress"
        process.send_signal(signal.SIGTSTP)
        until(lambda: (state(process.pid), state(child)) == ("T", "T"))
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=60)
    assert process.returncode == 130


def test_kill_of_a_stopped_run_ends_it_at_once(stopped_run, tmp_path):
    """As bash's `kill %1` does: the signal, then the one to continue."""
    process, child = stopped_run
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert time.monotonic() - begun < 7  # else the runtime heard nothing, and was killed
    assert gone(child, 1)
    assert not (tmp_path / "separated").exists()


def test_kill_9_of_a_stopped_launcher_ends_the_runtime(stopped_run, tmp_path):
    process, child = stopped_run
    process.kill()
    assert gone(child)
    assert not (tmp_path / "separated").exists()


def test_where_ctrl_z_is_ignored_it_stays_so(long_run):
    process, child = long_run(process_group=0, ignored=[signal.SIGTSTP])
    process.send_signal(signal.SIGTSTP)
    time.sleep(0.5)
    assert "T" not in (state(process.pid), state(child))


def ready():
    """Hear interrupts, even where a shell has started these tests with them ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


CONSOLE = "from sep_launcher.__main__ import main; raise SystemExit(main())"


@pytest.mark.parametrize("command", ["run nope.wav", "doctor", "models list", "bench --events"])
@pytest.mark.parametrize("module", ["sep_launcher.show.streams", "typer.core", "sep_launcher.cli"])
@pytest.mark.parametrize("way", [["-m", "sep_launcher"], ["-c", CONSOLE]])
def test_ctrl_c_during_imports_is_quiet(home, tmp_path, command, module, way):
    """Python tells every import here, so the moment is known."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-X", "importtime", *way, *command.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        preexec_fn=ready,  # noqa: PLW1509 (no threads here)
    )
    for line in process.stderr:
        if line.rpartition("|")[2].strip() == module:
            break
    process.send_signal(signal.SIGINT)
    out, told = process.communicate(timeout=20)
    # A Python that is about to end has given signals back to the system: shells say 130 then, too.
    assert process.returncode in (130, 2, 3, -signal.SIGINT), told
    assert out == "" or process.returncode != 130
    assert not [line for line in told.splitlines() if "Traceback" in line or "Interrupt" in line]


def test_ctrl_c_at_the_end_is_quiet(home):
    code = (
        "import os, signal, sys, time\nfrom sep_launcher.__main__ import main\n"
        "sys.argv = ['sep', 'route']\ncode = main()\n"
        "os.kill(os.getpid(), signal.SIGINT)\ntime.sleep(0.1)\nsys.exit(code)"
    )
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=ready,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["doctor", "models list", "route"])
def test_ctrl_c_where_nobody_reads(home, command):
    """The reader of a pipe lets it fill, as `less` does, and Ctrl-C comes."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "sep_launcher", *command.split()],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=ready,  # noqa: PLW1509 (no threads here)
    )
    os.close(writing)
    time.sleep(1.5)  # it has begun to write, or still looks at the machine
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    os.close(reading)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 130, told
    assert "Traceback" not in told
