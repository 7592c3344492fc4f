"""Runs that take long enough to be disturbed."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile


@pytest.fixture
def with_tiny(tiny):
    return ["--model", tiny[0], "--model-config", tiny[1]]


@pytest.fixture
def toys(imported, home):
    """The user's own models of that folder."""
    shutil.copytree(imported, home / "sep" / "models")
    return home / "sep" / "models"


@pytest.fixture
def long_run(home, tmp_path, with_tiny):
    """A run of many minutes, in its own session, seen at work: (process, pid of the runtime)."""
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros((44100 * 900, 1), np.int16), 44100)
    started = []

    def start(*, ignored=(), process_group=None):
        def reset():  # these tests may themselves run where a shell ignores interrupts
            for each in (signal.SIGINT, signal.SIGHUP, signal.SIGTSTP):
                signal.signal(each, signal.SIG_IGN if each in ignored else signal.SIG_DFL)

        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sep_launcher", "run", path, "--events", *with_tiny],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            start_new_session=process_group is None,
            process_group=process_group,
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
