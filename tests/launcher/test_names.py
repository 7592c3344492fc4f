"""Names from files and models: every file system takes them, and none becomes another's."""

import os
from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sep_launcher.planning.names import fitted, portable, track

NAMES = st.binary(min_size=1, max_size=80).map(lambda raw: os.fsdecode(raw.replace(b"/", b"")))
FORBIDDEN = set('<>:"/\\|?*') | {chr(code) for code in range(32)} | {"\x7f"}


@given(NAMES)
def test_no_name_has_what_some_system_forbids(name):
    made = portable(name)
    assert not FORBIDDEN & set(made)
    assert made == made.rstrip(" .")
    assert portable(made) == made
    if not FORBIDDEN & set(name) and name.isalpha() and len(name) > 6:
        assert made == name


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("What is Love?", "What is Love_"),
        ('a:b|c?d*e<f>"g\\h', "a_b_c_d_e_f__g_h"),
        ("new\nline\x1b[31m", "new_line_[31m"),
        ("con", "con_"),
        ("NUL", "NUL_"),
        ("aux.mix", "aux_.mix"),
        ("com1 .x", "com1 _.x"),
        ("LPT\u00b3", "LPT\u00b3_"),
        ("CONIN$", "CONIN$_"),
        ("console", "console"),
        ("com10", "com10"),
        ("T.N.T.", "T.N.T"),
        ("dots. . .", "dots"),
        ("...", ""),
        ("caf\udce9", "caf\udce9"),
        ("🥁 é 100% #1 & [x] {y} 'z' $HOME ~", "🥁 é 100% #1 & [x] {y} 'z' $HOME ~"),
    ],
)
def test_what_becomes_of_a_name(name, made):
    assert portable(name) == made


def test_folders_above_a_track_are_made_so_too():
    assert track(PurePath("a?/.../con/x:.wav")) == PurePath("a_/_/con_/x_")
    assert track(PurePath(" .wav")) == PurePath("track")
    long = track(PurePath("é" * 127 + "?", "x.wav"))
    assert len(os.fsencode(long.parts[0])) <= 255


def test_cut_names_keep_their_bytes():
    assert fitted("\udce9" * 200 + ".x", 255) == "\udce9" * 200 + ".x"
    cut = fitted("\udce9" * 300, 100)
    assert os.fsencode(cut).startswith(b"\xe9" * 45 + b"~")
    assert fitted("é" * 300, 100).startswith("é" * 22 + "~")
    assert len(fitted("\ud800" * 300, 100)) < 100  # Windows has such names


@given(st.lists(NAMES, min_size=2, max_size=2, unique=True), st.integers(40, 120))
def test_cut_names_stay_apart(names, most):
    first, second = (fitted(name * 3, most) for name in names)
    assert first != second or names[0] * 3 == names[1] * 3
    assert len(os.fsencode(first)) <= most
