"""One command of an installer: what is seen of it, when it works, fails or is interrupted."""

import os
import pty
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from sep_launcher.setup import running
from sep_launcher.setup.installers import Step
from sep_launcher.show.render import Style, Terminal
from sep_protocol.errors import NotReadyError

NOISY = """
for each in range(30):
    print(f"Collecting package{each}", flush=True)
    print("  Using cached x", flush=True)
print("Progress 500000 of 2000000")
"""


def step(code):
    return Step(what="PyTorch", command=(sys.executable, "-c", code))


def test_what_works_says_nothing(tmp_path, capfd):
    running.run(step(NOISY), tmp_path, Terminal(Style()))
    assert capfd.readouterr() == ("", "")


def test_with_verbose_it_says_all(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(sys, "stderr", open(2, "w", closefd=False))  # noqa: SIM115
    running.run(step(NOISY), tmp_path, Terminal(Style(verbose=True)))
    told = capfd.readouterr().err
    assert told.count("\nCollecting") == 30
    assert told.count("\n  Using cached") == 30


@pytest.mark.parametrize("verbose", [True, False])
def test_pip_tells_its_progress_to_us_alone(tmp_path, verbose, monkeypatch):
    monkeypatch.setattr(sys, "stderr", open(2, "w", closefd=False))  # noqa: SIM115
    code = f"import os; assert (os.environ.get('PIP_PROGRESS_BAR') == 'raw') is not {verbose}"
    running.run(replace(step(code), bars=True), tmp_path, Terminal(Style(verbose=verbose)))


@pytest.mark.parametrize(
    ("ending", "first", "last"),
    [
        ("print('ERROR: no match'); print('more')", "ERROR: no match", "ERROR: no match"),
        ("", "Collecting package26", "Using cached x"),
    ],
)
def test_what_fails_shows_its_last_lines(tmp_path, capfd, ending, first, last):
    with pytest.raises(NotReadyError, match=f"setting up PyTorch failed: {last}"):
        running.run(step(f"{NOISY}{ending}\nraise SystemExit(1)"), tmp_path, Terminal(Style()))
    told = capfd.readouterr().err.splitlines()
    assert len(told) <= running.TAIL
    assert told[0].strip() == first or ending == ""
    assert "Progress" not in "".join(told)


ALONE = """
import sys
from pathlib import Path
from sep_launcher.setup import command, running
from sep_launcher.setup.installers import Step
from sep_launcher.show.render import Style, Terminal

code = '''
import time
print("Collecting package", flush=True)
print("Progress 500000 of 2000000", flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("Traceback (most recent call last)", flush=True)
    raise
'''
screen = Terminal(Style())
step = Step(what="PyTorch", command=(sys.executable, "-c", code))
sys.exit(command._told(screen, lambda: running.run(step, Path.cwd(), screen)))
"""


def test_ctrl_c_at_a_terminal_says_one_thing(tmp_path):
    """There is a bar; Ctrl-C, which a terminal sends to all, is told by us alone."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", ALONE],
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        told = b""
        while b"25%" not in told:
            told += os.read(ours, 4096)
        assert b"PyTorch: package" in told
        assert b"Collecting" not in told
        time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)
        rest = b""
        try:
            while more := os.read(ours, 4096):
                rest += more
        except OSError:  # the terminal is gone when its last user is
            pass
    os.close(ours)
    assert process.returncode == 130
    assert b"error: interrupted" in rest
    assert b"Traceback" not in rest
