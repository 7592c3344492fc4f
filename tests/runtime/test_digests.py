"""SHA-256 of files, begun early or not: always that of what is there when it is asked for."""

import hashlib
import os

import pytest

from sep_runtime import digests


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(os.urandom(3 * digests.PIECE // 2))
    return path


def plain(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_it_is_the_same_early_or_not(file):
    assert digests.of(file) == plain(file)
    digests.begin(file)
    assert digests.of(file) == plain(file)
    file.write_bytes(b"")
    assert digests.of(file) == plain(file)


@pytest.mark.parametrize("how", ["written", "replaced"])
def test_what_changed_since_is_read_again(file, tmp_path, how):
    digests.begin(file)
    early = digests._BEGUN[file]
    early._thread.join()
    assert early._digest == plain(file)
    if how == "written":
        with file.open("r+b") as opened:
            opened.write(b"damage")
    else:
        (tmp_path / "y").write_bytes(os.urandom(file.stat().st_size))
        (tmp_path / "y").replace(file)
    assert digests.of(file) == plain(file)


def test_what_cannot_be_read_is_told_when_it_is_asked_for(tmp_path):
    digests.begin(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        digests.of(tmp_path / "none")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    digests.begin(tmp_path / "pipe")
    assert digests._BEGUN.pop(tmp_path / "pipe").found() == ""
