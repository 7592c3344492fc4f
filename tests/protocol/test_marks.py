"""What a mix is known by."""

import os

import pytest

from sep_protocol.marks import is_same, mark

NOTED = {"path": "/a/x.wav", "sha256": "0", "size": 9, "mtime_ns": 1_000_000_001}


@pytest.mark.parametrize(
    ("now", "path", "same"),
    [
        ({"size": 9, "mtime_ns": 1_000_000_001}, "/b/x.wav", True),
        ({"size": 8, "mtime_ns": 1_000_000_001}, "/a/x.wav", False),
        ({"size": 9, "mtime_ns": 1_000_000_002}, "/a/x.wav", False),
        ({}, "/a/x.wav", False),
    ],
)
def test_size_and_time(now, path, same):
    assert is_same(NOTED, now, path) is same


def test_a_time_of_whole_seconds_counts_with_the_path():
    noted = {**NOTED, "mtime_ns": 2_000_000_000}
    now = {"size": 9, "mtime_ns": 2_000_000_000}
    assert is_same(noted, now, "/a/x.wav")
    assert not is_same(noted, now, "/b/x.wav")


def test_what_an_object_store_knows_needs_no_time():
    noted = {"path": "s3://a/x.wav", "size": 9, "etag": "abc"}
    assert is_same(noted, {"size": 9, "etag": "abc"}, "s3://b/x.wav")
    assert not is_same(noted, {"size": 9, "etag": "abd"}, "s3://a/x.wav")


@pytest.mark.parametrize("noted", [None, [], {}, {"size": 9}, "x"])
def test_what_is_no_mix_is_raised(noted):
    with pytest.raises((LookupError, TypeError)):
        is_same(noted, {"size": 9, "mtime_ns": 1}, "/a")


def test_marks_of_files(tmp_path):
    (tmp_path / "a").write_bytes(b"four")
    os.utime(tmp_path / "a", ns=(0, 1_234_567_000))
    assert mark(tmp_path / "a") == {"size": 4, "mtime_ns": 1_234_567_000}
    with pytest.raises(OSError, match="a"):
        mark(tmp_path / "b")
