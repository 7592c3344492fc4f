"""What is shown can be shown everywhere, and no terminal obeys it."""

import io
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sep_launcher.show.render import Style, Terminal, lines, rows
from sep_launcher.show.streams import printable
from sep_protocol import Warned
from sep_protocol.errors import PathError

EVIL = "a\x1b[31m\x9b2J\x07\r\x7f\u202egpj\u2066\nerror: forged"
SHOWN = "a\\x1b[31m\\x9b2J\\x07\\x0d\\x7f\\u202egpj\\u2066\\x0aerror: forged"


def test_what_is_hidden_is_shown_by_its_code():
    assert printable(EVIL) == SHOWN
    assert printable("caf\udce9 \ud800") == "caf\\xe9 \\ud800"
    plain = "🥁 straße 曲 [bold] :drum: 100% \\x1b"
    assert printable(plain) == plain


@given(st.text(st.characters()))
def test_no_text_is_more_than_a_line(text):
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    shown.encode()  # also what is no text
    assert printable(shown) == shown


def test_every_line_for_people_is_one_line(monkeypatch):
    """Names, messages, hints, logs: whatever another program or a file's name has in it."""
    told, asked = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", told)
    monkeypatch.setattr(sys, "stdout", asked)
    screen = Terminal(Style(verbose=True))
    screen.say(EVIL, hint=EVIL)
    screen.log(EVIL)
    screen.warn(EVIL, EVIL)
    screen.event(Warned(message=EVIL))
    screen.fault(PathError(EVIL, hint=EVIL))
    screen.close()
    lines([EVIL])
    rows(("head",), [(EVIL,)])
    shown = told.getvalue().splitlines()
    assert len(shown) == 8
    assert all(SHOWN in line for line in shown)
    first, *table = asked.getvalue().splitlines()
    assert first == SHOWN
    assert any(SHOWN in line for line in table)


def test_names_are_no_codes_of_ours(monkeypatch):
    told = io.StringIO()
    monkeypatch.setattr(sys, "stdout", told)
    rows(("head",), [("[bold]:drum:[/bold]",)])
    assert "[bold]:drum:[/bold]" in told.getvalue()


def guarded(code, *, encoding="utf-8", after=""):
    """Run code behind guarded streams; `after` is what the shell does to them."""
    text = (
        "import sys\nfrom sep_launcher.show import streams\nstreams.guard()\n"
        f"{code}\nsys.exit(streams.ended(7 if 'fail' in sys.argv else 0))\n"
    )
    return subprocess.run(
        ["bash", "-c", f'"$0" -P -c "$1" ${{@:2}} {after}', sys.executable, text],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        stdin=subprocess.DEVNULL,
        check=False,
    )


TEXT = 'text = "caf\\udce9 曲 \\ud800 é"\n'


@pytest.mark.parametrize("encoding", ["cp1252:strict", "ascii:strict", "latin-1", "utf-8"])
def test_any_text_goes_into_any_encoding(encoding):
    done = guarded(f"{TEXT}print(text)\nprint(text, file=sys.stderr)", encoding=encoding)
    assert done.returncode == 0, done.stderr
    for said in (done.stdout, done.stderr):
        assert said.startswith(b"caf\\udce9 ")
        assert "é" in said.decode(encoding.partition(":")[0]) or encoding.startswith("ascii")


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /dev/full")
@pytest.mark.parametrize(
    ("after", "code", "told"),
    [
        (">/dev/full", 3, b"No space left"),
        (">&-", 3, b"it is closed"),
        ("2>&-", 0, b""),
        ("2>/dev/full", 0, b""),
        (">&- 2>&-", 3, b""),
        ("<&- >/dev/full 2>&-", 3, b""),
        ("| true", 0, b""),
        ("2>&1 | true", 0, b""),
    ],
)
def test_streams_that_take_nothing(after, code, told):
    """Much is said, so that a pipe without a reader is noticed; and the end is its own."""
    body = "for _ in range(1000):\n    print('x' * 99)\n    print('y' * 99, file=sys.stderr)"
    done = guarded(body, after=f"{after}; exit ${{PIPESTATUS[0]}}")
    assert done.returncode == code
    assert b"Traceback" not in done.stderr
    assert told in done.stderr
    failed = guarded(body, after=f"fail {after}; exit ${{PIPESTATUS[0]}}")
    assert failed.returncode == 7


def test_nothing_said_is_no_fault():
    assert guarded("", after=">&-").returncode == 0


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path):
    """Else what a library or a child writes to its stderr would be in that file."""
    body = f"file = open({str(tmp_path / 'x')!r}, 'w')\nassert file.fileno() > 2\n"
    body += "import os\nos.write(2, b'said')\nassert sys.stdin.read() == ''"
    assert guarded(body, after="<&- >&- 2>&-").returncode == 0
    assert (tmp_path / "x").read_text() == ""


def test_a_slow_reader_of_a_stream_that_does_not_block():
    """Some parents make the pipe non-blocking; nothing is lost, nothing is raised."""
    body = "import os\nos.set_blocking(1, False)\nprint('x' * 1000000)"
    done = guarded(body, after="| (sleep 0.5; wc -c); exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stdout.strip()) == (0, b"1000001"), done.stderr
