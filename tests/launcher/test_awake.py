"""Sleep is held off by the system's own command, which ends with us, however we end."""

import os
import subprocess
import sys
import time
from pathlib import Path

from sep_launcher.machine.awake import inhibitor

CODE = """
import os, sys, time
from sep_launcher.machine.awake import awake
with awake():
    print("in", flush=True)
    time.sleep(float(sys.argv[1]))
"""


def fake(tmp_path):
    """An inhibitor that leaves its process number and runs what it is given, as the real ones."""
    name = inhibitor(sys.platform, 1)[0]
    script = tmp_path / name
    script.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec cat\n")
    script.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}


def ended(pid):
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_the_inhibitor_ends_with_the_run(tmp_path):
    env = fake(tmp_path)
    subprocess.run([sys.executable, "-c", CODE, "0.3"], env=env, check=True, capture_output=True)
    assert ended(int((tmp_path / "pid").read_text()))


def test_the_inhibitor_ends_when_we_are_killed(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", CODE, "60"], env=fake(tmp_path), stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.02)
        process.kill()
    assert ended(int((tmp_path / "pid").read_text()))


def test_without_an_inhibitor_the_run_goes_on(tmp_path):
    env = {**os.environ, "PATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", CODE, "0"], env=env, check=True, capture_output=True)


def test_commands():
    assert inhibitor("darwin", 7) == ["caffeinate", "-i", "-w", "7"]
    assert inhibitor("linux", 7)[0] == "systemd-inhibit"
