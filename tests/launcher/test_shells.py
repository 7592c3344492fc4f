"""A command that is shown can be pasted, whatever is in its names."""

import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sep_launcher.engines import shells

WORDS = st.lists(
    st.binary(max_size=12).map(lambda raw: os.fsdecode(raw.replace(b"\0", b""))), max_size=8
)


def read_back(line):
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True)
    return done.stdout.split(b"\0")[:-1]


@pytest.mark.parametrize(
    "word",
    ["", "a b", "it's", "caf\udce9", "\x1b[31m'\\$HOME`x`", "new\nline", "\u202egpj.wav", "é 🥁"],
)
def test_bash_reads_back_what_is_shown(word):
    line = shells.bash([word])
    assert line.isprintable()
    assert read_back(line) == [os.fsencode(word)]


@given(WORDS)
def test_bash_reads_back_any_bytes(words):
    if words:
        assert read_back(shells.bash(words)) == [os.fsencode(word) for word in words]
