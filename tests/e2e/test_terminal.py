"""What a person sees in a terminal: a real one, as wide as it is."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time

import psutil
import pytest
import soundfile

import sep_models
from sep_launcher.show.layout import cells

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")


class Terminal:
    """A command in a terminal of its own; `seen` grows with what it writes there."""

    def __init__(self, words, cwd, width=80):
        self.seen = ""
        self._own, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, width))
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sep_launcher", *map(str, words)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=cwd,
            env={**os.environ, "TERM": "xterm"},
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
        os.close(theirs)

    def type(self, text):
        os.write(self._own, text.encode())

    def read(self, until="", seconds=60.0):
        """Read until some words are there, or to the end; return all that was seen."""
        end = time.monotonic() + seconds
        while not until or not re.search(until, self.seen):
            assert time.monotonic() < end, self.seen
            if not select.select([self._own], [], [], 0.1)[0]:
                continue
            try:
                told = os.read(self._own, 65536)
            except OSError:  # the other end is closed
                break
            self.seen += told.decode("utf-8", "replace")
        return self.seen

    def waits(self, seconds=60.0):
        """Wait until the command sleeps, as one that reads does."""
        end = time.monotonic() + seconds
        while psutil.Process(self.process.pid).status() != psutil.STATUS_SLEEPING:
            assert time.monotonic() < end, self.seen
            time.sleep(0.01)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self._own)


@pytest.fixture
def terminal(home, tmp_path):
    opened = []

    def start(*words, width=80):
        opened.append(Terminal(words, tmp_path, width))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.fixture
def songs(tmp_path, noise):
    names = ["one.wav", "two 曲曲曲曲曲曲曲曲曲曲曲曲曲曲曲曲曲曲.wav"]
    for name in names:
        soundfile.write(tmp_path / name, noise(1, 44100 * 20).T, 44100)
    return names


def drawn(seen):
    """Return every state of the line at the bottom."""
    return re.findall(r"\x1b\[J([^\r\n]*)\r(?!\n)", seen)


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 40])
def test_the_line_of_a_batch(terminal, songs, with_tiny, width):
    """It fits, whatever the names are; it speaks of the whole batch; nothing of it stays."""
    shown = terminal("run", *songs, *with_tiny, width=width)
    seen = shown.read()
    assert shown.process.wait(20) == 0
    states = drawn(seen)
    assert states
    assert all(cells(each) < width for each in states)
    assert any(re.search(r"1/2 one.wav .*\d+%  \d+ s left for all", each) for each in states)
    # Drawn from its first column, and the cursor is back there: no width can tear it.
    assert seen.count("\x1b[J") >= len(states)
    rest = re.sub(r"\x1b\[J[^\r\n]*\r(?!\n)", "", seen).replace("\x1b[J", "").replace("\r", "")
    assert "%" not in rest
    assert [line.partition(":")[0] for line in rest.splitlines() if line] == [
        *("2 tracks", "1/2 done", "2/2 done", "done")
    ]


def test_quiet_draws_nothing(terminal, songs, with_tiny):
    shown = terminal("run", songs[0], "--quiet", *with_tiny)
    assert shown.read() == ""
    assert shown.process.wait(20) == 0


def test_an_answer_that_is_none_is_asked_again(home, tmp_path):
    code = (
        "import sys\nfrom sep_launcher.show.render import Style, Terminal\n"
        "screen = Terminal(Style())\nsys.exit(0 if screen.ask('go on?') else 5)"
    )
    cases = (("maybe\nYES\n", 2, 0), ("\n", 1, 0), ("x\nn\n", 2, 5), ("", 1, 5))
    for typed, asked, answer in cases:
        command = [sys.executable, "-P", "-c", code]
        done = subprocess.run(command, input=typed, capture_output=True, text=True, check=False)
        assert done.returncode == answer, done.stderr
        assert done.stderr.count("go on? [Y/n]") == asked
        assert done.stderr.count("please answer y or n") == asked - 1


def test_ctrl_c_at_a_question(home, tmp_path, terminal):
    """Ctrl-C ends it, on a line of its own, and nothing was done."""
    shown = terminal("setup", "--model", "drumsep")
    shown.read(r"go on\? \[Y/n\]|error")
    if "go on?" not in shown.seen:
        pytest.skip("nothing is to be asked here")
    shown.waits()  # a person is not as quick as this test: between question and reading it is lost
    shown.process.send_signal(signal.SIGINT)
    seen = shown.read()
    assert shown.process.wait(20) == 130
    assert "[Y/n] \r\nerror: interrupted" in seen
    assert "Traceback" not in seen


@pytest.mark.parametrize(
    ("words", "model"),
    [
        (("run", "--from-mix", "one.wav"), "htdemucs-ft-drums"),
        (("run", "one.wav", "--from-mix", "scnet-small"), "scnet-small"),
        (("run", "one.wav", "-m", "drumsep"), "mdx23c-drumsep-5stem"),
    ],
)
def test_a_model_that_is_not_here_is_offered(terminal, songs, home, words, model):
    """Nothing is fetched before somebody says yes."""
    shown = terminal(*words)
    shown.read(r"go on\? \[Y/n\]|error")
    manifest = sep_models.find(model)
    told = " ".join(shown.seen.split())
    assert f"the model {model}, {manifest.sources[0].bytes / 1e6:.0f} MB" in told
    assert f"licence: {' '.join(manifest.licence.split())}" in told
    assert manifest.sources[0].urls[0] in told
    shown.type("n\n")
    seen = shown.read()
    assert shown.process.wait(20) == 16
    assert f"sep models pull {model}" in seen
    assert not (home / "sep" / "models").exists()


@pytest.mark.slow
def test_doctor_parts_lines_between_words(terminal):
    shown = terminal("doctor", width=60)
    seen = shown.read().replace("\r", "")
    assert shown.process.wait(20) in (0, 1)
    lines = [each for each in seen.splitlines() if "fix:" not in each]
    assert max(map(len, lines)) <= 60
    words = set(seen.split())
    whole = subprocess.run(
        [sys.executable, "-P", "-m", "sep_launcher", "doctor"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    unlike = {each for each in words - set(whole.split()) if not re.search(r"\d", each)}
    assert not unlike  # no half of a word


def test_tables_in_pipes_are_lines_without_blanks_at_their_ends(sep):
    lines = sep("models", "list").stdout.splitlines()
    assert all(line == line.rstrip() for line in lines)
    assert all(any(each.name in line for line in lines) for each in sep_models.catalogue())
