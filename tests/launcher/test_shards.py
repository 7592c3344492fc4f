"""Shards: every file in one of them, and always in the same."""

import unicodedata
from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sep_launcher.planning import files
from sep_launcher.planning.shards import Shard, shard
from sep_protocol.errors import UsageError

PATHS = st.lists(st.text(st.characters(blacklist_characters="/\0"), min_size=1), min_size=1).map(
    lambda parts: PurePath(*parts)
)


@given(PATHS, st.integers(1, 50))
def test_every_file_is_in_one_shard(path, count):
    assert sum(Shard(number=k, count=count).has(path) for k in range(count)) == 1


def test_a_name_is_the_same_in_any_form_of_unicode_and_may_be_no_text():
    for name in ("Bj\u00f6rk/\u00e9t\u00e9.wav", "a\udce9.wav"):
        found = {
            k
            for form in ("NFC", "NFD")
            for k in range(97)
            if Shard(number=k, count=97).has(PurePath(unicodedata.normalize(form, name)))
        }
        assert len(found) == 1


def test_the_rule_does_not_change_from_release_to_release():
    """Red where another rule would do songs twice that runs of before have in other shards."""
    found = [
        [k for k in range(8) if Shard(number=k, count=8).has(PurePath(name))]
        for name in ("a.wav", "cd 1/a.wav", "\u00e9.flac")
    ]
    assert found == [[7], [1], [3]]


@pytest.mark.parametrize("typed", ["0/1", "3/4", " 0/2 ", "0007/10"])
def test_shards_that_can_be(typed):
    number, count = typed.split("/")
    assert shard(typed) == Shard(number=int(number), count=int(count))


@pytest.mark.parametrize(
    "typed",
    [
        *("", "1", "/", "1/", "/2", "a/b", "-1/2", "1/-2", "0/0", "2/2", "4/3", "0.5/2", "1/2/3"),
        *("0/99999999", "1 / 2", "\u0661/\u0662"),
    ],
)
def test_shards_that_cannot_be(typed):
    with pytest.raises(UsageError, match="--shard"):
        shard(typed)


def test_what_was_named_is_the_root(tmp_path, monkeypatch):
    (tmp_path / "lib" / "cd 1").mkdir(parents=True)
    for name in ("a.wav", "cd 1/b.wav"):
        (tmp_path / "lib" / name).touch()
    monkeypatch.chdir(tmp_path)
    for patterns, below in (
        (("lib",), ["a.wav", "cd 1/b.wav"]),
        ((str(tmp_path),), ["lib/a.wav", "lib/cd 1/b.wav"]),
        (("lib/*/*.wav",), ["cd 1/b.wav"]),
        (("lib/cd 1/b.wav", "lib/a.wav"), ["b.wav", "a.wav"]),
    ):
        found = files.find(patterns).files
        assert [each.below.as_posix() for each in found] == below
