"""Files, folders and globs, as a person names them."""

import os
import socket
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from sep_launcher.planning.files import check_outputs, find
from sep_protocol.errors import PathError, UsageError


@pytest.fixture
def music(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        "song.wav",
        "song.flac",
        "song [master].wav",
        "Ünïcode 🥁.WAV",
        "notes.txt",
        ".hidden.wav",
        "album/01.wav",
        "album/cd2/01.wav",
        "album/.git/x.wav",
        "separated/song/kick.wav",
        "separated/song/sep.json",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def names(*patterns):
    return [each.name.as_posix() for each in find(patterns).files]


def test_one_file(music):
    assert names("song.wav") == ["song"]


def test_existing_path_comes_before_glob(music):
    assert names("song [master].wav") == ["song [master]"]


def test_glob(music):
    assert names("*.[wf]*") == ["song [master]", "song_flac", "song"]


def test_folder_keeps_its_structure_without_hidden_and_our_own(music):
    assert names("album") == ["01", "cd2/01"]
    assert names(".") == [
        "song [master]",
        "song_flac",
        "song",
        "Ünïcode 🥁",
        "album/01",
        "album/cd2/01",
    ]


def test_two_files_of_one_name_get_two_folders(music):
    assert names("album/01.wav", "album/cd2/01.wav") == ["01", "01-2"]


def test_names_that_another_system_takes_for_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("\u00e9.wav", "e\u0301.wav", "Song.wav", "SONG.wav", "dots... .wav", " ..wav"):
        (tmp_path / name).touch()
    found = names(".")
    assert len({unicodedata.normalize("NFC", name).casefold() for name in found}) == 6
    assert "dots" in found
    assert "track" in found


def test_a_file_named_twice_is_done_once(music):
    assert names("song.wav", "./song.wav", "song.w*") == ["song"]


@pytest.mark.parametrize("pattern", ["nope.wav", "*.ogg", "separated", "notes.t?t"])
def test_nothing_there(music, pattern):
    with pytest.raises(PathError):
        find((pattern,))


@pytest.mark.parametrize("patterns", [(), ("",), ("song.wav", "")])
def test_no_pattern(music, patterns):
    with pytest.raises(UsageError):
        find(patterns)


@pytest.mark.skipif(sys.platform != "linux", reason="no such names there")
def test_names_that_are_no_text(tmp_path, monkeypatch):
    """Old archives and foreign disks: the bytes of a name come through as they are."""
    monkeypatch.chdir(tmp_path)
    for name in (b"caf\xe9.wav", b"al\xffbum/\x85.wav"):
        path = Path(os.fsdecode(name))
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = find((os.fsdecode(b"caf\xe9.wav"), "al*/*", "c*.wav", os.fsdecode(b"al\xffbum")))
    assert [os.fsencode(each.name) for each in found.files] == [b"caf\xe9", b"\x85"]
    assert [os.fsencode(each.path) for each in found.files] == [
        b"caf\xe9.wav",
        b"al\xffbum/\x85.wav",
    ]


def test_names_are_made_for_any_file_system(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("What is Love?.wav", "What is Love*.wav", "con.wav", "NUL/a:b.wav", "x. /y.wav"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    assert names(".") == ["What is Love_", "What is Love_-2", "con_", "NUL_/a_b", "x/y"]


@pytest.mark.skipif(sys.platform == "win32", reason="no such files there")
def test_what_is_no_file_is_passed_over_and_told(tmp_path, monkeypatch):
    """A pipe without a writer would hang whoever opens it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "in"
    (folder / "folder.wav").mkdir(parents=True)
    (folder / "song.wav").touch()
    os.mkfifo(folder / "pipe.wav")
    (folder / "gone.wav").symlink_to("nowhere")
    (folder / "loop.wav").symlink_to("loop.wav")
    (folder / "notes.txt").symlink_to("nowhere")
    (folder / ".hidden.wav").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("in/socket.wav")
    for pattern in ("in", "in/*"):
        found = find((pattern,))
        assert [each.path.name for each in found.files] == ["song.wav"]
        told = sorted(found.warnings)
        assert [each.partition(" ")[0] for each in told] == [
            f"in/{name}.wav" for name in ("gone", "loop", "pipe", "socket")
        ]
        assert all("passed over" in each for each in told)
    (folder / "song.wav").unlink()
    with pytest.raises(PathError, match=r"in: in/gone\.wav is a link to nothing$"):
        find(("in",))


@pytest.mark.skipif(sys.platform == "win32", reason="no such files there")
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("pipe.wav", "is a pipe, not a file"),
        ("/dev/null", "is a device, not a file"),
        ("-", "standard input is not read"),
        ("gone.wav", "is a link to nothing"),
        ("loop.wav", "cannot be read: Too many levels"),
        ("x" * 300 + ".wav", "cannot be read: File name too long"),
        ("song.wav/x.wav", "there is no file"),
    ],
)
def test_what_is_no_file_is_refused_when_named(tmp_path, monkeypatch, name, told):
    monkeypatch.chdir(tmp_path)
    Path("song.wav").touch()
    os.mkfifo("pipe.wav")
    Path("gone.wav").symlink_to("nowhere")
    Path("loop.wav").symlink_to("loop.wav")
    with pytest.raises(PathError, match=told):
        find(("song.wav", name))


def test_a_file_of_any_ending_is_tried_when_named(music):
    assert names("notes.txt") == ["notes"]


def test_finished_output_is_refused(tmp_path):
    done = tmp_path / "song"
    done.mkdir()
    check_outputs([done], [], overwrite=False)
    (done / "kick.wav").touch()
    with pytest.raises(PathError, match="exists already"):
        check_outputs([done], [], overwrite=False)
    with pytest.raises(PathError, match="song and 1 more exist already"):
        check_outputs([done, done], [], overwrite=False)
    check_outputs([done], [], overwrite=True)


def test_output_at_or_below_a_file_is_refused(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(PathError, match="out is no folder"):
        check_outputs([tmp_path / "out"], [], overwrite=True)
    with pytest.raises(PathError, match="cannot be written"):
        check_outputs([Path(tmp_path, "out", "song")], [], overwrite=False)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
@pytest.mark.parametrize("target", ["real", "nowhere", "song"])
def test_a_track_folder_that_is_a_link_is_refused(tmp_path, target):
    """It would be replaced, and what is in its target be moved."""
    (tmp_path / "real").mkdir()
    (tmp_path / "song").symlink_to(target)
    for options in (
        {"overwrite": True},
        {"overwrite": False},
        {"overwrite": False, "resume": True},
    ):
        with pytest.raises(PathError, match="song is a link") as caught:
            check_outputs([tmp_path / "song"], [], **options)
        assert "--out" in caught.value.hint
    (tmp_path / "out").symlink_to("real")
    check_outputs([tmp_path / "out" / "song"], [], overwrite=False)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_output_below_a_link_to_nothing_is_refused(tmp_path):
    (tmp_path / "out").symlink_to("nowhere")
    with pytest.raises(PathError, match="out is a link to nothing"):
        check_outputs([tmp_path / "out" / "album" / "song"], [], overwrite=False)


def test_an_input_is_never_replaced(tmp_path):
    (tmp_path / "kick").mkdir()
    mix = tmp_path / "kick" / "kick.wav"
    mix.touch()
    with pytest.raises(PathError, match="into the folder of"):
        check_outputs([tmp_path / "kick"], [mix], overwrite=True)


def test_output_where_nobody_can_write():
    with pytest.raises(PathError, match="cannot be written"):
        check_outputs([Path("/proc/sep/song")], [], overwrite=False)


def test_videos_in_a_folder_are_told(tmp_path):
    for name in ("a.wav", "b.mp4", "c/d.MKV", "e.ac3", "f.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = find((str(tmp_path),))
    assert sorted(each.path.name for each in found.files) == ["a.wav", "e.ac3"]
    assert found.warnings == (f"videos in {tmp_path} are not looked for: name the 2 there",)
    with pytest.raises(PathError, match="name the 1 there"):
        find((str(tmp_path / "c"),))


@pytest.mark.skipif(os.name == "nt", reason="links and rm are another system's")
def test_globs_end_in_loops_and_deep_trees(tmp_path):
    (tmp_path / "a.wav").touch()
    for name in ("x", "y"):
        (tmp_path / name).symlink_to(".")
    found = find((str(tmp_path / "**" / "*.wav"),))
    assert [each.path.name for each in found.files] == ["a.wav"]
    deep = tmp_path / "deep"
    deep.mkdir()
    here = Path.cwd()
    try:
        os.chdir(deep)
        for _ in range(1200):
            Path("a").mkdir()
            os.chdir("a")
    finally:
        os.chdir(here)
    assert len(find((str(tmp_path / "**" / "*.wav"),)).files) == 1
    subprocess.run(["rm", "-rf", str(deep)], check=True)  # Python's own way is not deep enough


def test_songs_that_are_called_like_our_work_folders(tmp_path):
    (tmp_path / ".sep-abcdef12-0.wav").touch()
    (found,) = find((str(tmp_path / ".sep-abcdef12-0.wav"),)).files
    assert not found.name.name.startswith(".sep-")
