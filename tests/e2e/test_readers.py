"""Whoever reads what `sep` says may go away: the run goes on, and its exit code is its own."""

import json
import os
import shlex
import subprocess
import sys

import pytest
import soundfile

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no /dev/full")


@pytest.fixture
def shell(home, tmp_path, tiny, noise):
    """Run a line of bash; `sep` in it is ours. Returns what it left behind."""
    soundfile.write(tmp_path / "clip.wav", noise(2, 8000).T, 44100)
    start = f'sep() {{ "{sys.executable}" -P -m sep_launcher "$@"; }}; '
    model = f"--model '{tiny[0]}' --model-config '{tiny[1]}'"

    def run(line):
        return subprocess.run(
            ["bash", "-c", start + line.format(run=f"sep run {model}")],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=dict(os.environ),
            stdin=subprocess.DEVNULL,
            check=False,
        )

    return run


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ("{run} clip.wav 2>&1 | head -1; exit ${{PIPESTATUS[0]}}", 0, ""),
        ("{run} clip.wav --events | head -1; exit ${{PIPESTATUS[0]}}", 0, ""),
        ("{run} clip.wav --json 2>&- | true; exit ${{PIPESTATUS[0]}}", 0, ""),
        ("{run} clip.wav <&- >&- 2>&-", 0, ""),
        ("{run} clip.wav nope.wav 2>&-", 3, ""),
        ("{run} clip.wav --verbose 2>/dev/full", 0, ""),
        ("{run} clip.wav --json >/dev/full", 3, "standard output cannot be written: No space left"),
        ("{run} clip.wav --json >&-", 3, "standard output cannot be written: it is closed"),
        (
            "{run} clip.wav --events >/dev/full",
            3,
            "standard output cannot be written: No space left",
        ),
    ],
)
def test_the_run_goes_on(shell, tmp_path, line, code, told):
    done = shell(line)
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "separated").exists() == ("nope" not in line)
    if "nope" not in line:
        assert len(list((tmp_path / "separated" / "clip").iterdir())) == 6


@pytest.mark.parametrize(
    "command", ["models list", "models list --json", "route", "--help", "--version", "run --help"]
)
def test_lists_and_help_that_nobody_reads(shell, command):
    for line, code in (("| true", 0), (">/dev/full", 3), (">&-", 3), ("2>&-", 0)):
        done = shell(f"sep {command} {line}; exit ${{{{PIPESTATUS[0]}}}}")
        assert done.returncode == code, (line, done.stderr)
        assert "Traceback" not in done.stderr


def test_no_terminal_obeys_a_name(shell, tmp_path):
    name = "red\x1b[31m\u202egpj\nerror: forged.wav"
    (tmp_path / "clip.wav").rename(tmp_path / name)
    quoted = shlex.quote(name)
    shown = "red\\x1b[31m\\u202egpj\\x0aerror: forged.wav"
    (tmp_path / "bad\x1b.wav").write_text("no audio")
    for options, code in (("-v", 1), ("-v --dry-run", 0), ("--no$'\\x1b'", 2), ("$'\\x1b'", 3)):
        done = shell(f"{{run}} {quoted} bad* -o out {options} --overwrite")
        assert done.returncode == code, done.stderr
        assert "\x1b" not in done.stderr + done.stdout
        assert "\u202e" not in done.stderr
        assert not any(line.startswith("error: forged") for line in done.stderr.splitlines())
    done = shell(f"{{run}} {quoted} bad* -o json --json")
    assert done.stdout.isascii()
    tracks = {each["done"]: each for each in json.loads(done.stdout)["tracks"]}
    assert tracks[True]["mix"].endswith(name)
    assert tracks[True]["out"].endswith("red_[31m\u202egpj_error_ forged")
    assert f"1/2 done: {shown}, " in done.stderr
    assert "2/2 failed: bad\\x1b.wav is not audio" in done.stderr
