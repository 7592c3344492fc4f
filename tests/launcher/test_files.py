"""Files, folders and globs, as a person names them."""

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
    return [each.name.as_posix() for each in find(patterns)]


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


def test_no_pattern():
    with pytest.raises(UsageError):
        find(())


def test_a_file_of_any_ending_is_tried_when_named(music):
    assert names("notes.txt") == ["notes"]


def test_finished_output_is_refused(tmp_path):
    done = tmp_path / "song"
    done.mkdir()
    check_outputs([done], [], overwrite=False)
    (done / "kick.wav").touch()
    with pytest.raises(PathError, match="exists already"):
        check_outputs([done], [], overwrite=False)
    check_outputs([done], [], overwrite=True)


def test_output_below_a_file_is_refused(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(PathError, match="cannot be written"):
        check_outputs([Path(tmp_path, "out", "song")], [], overwrite=False)


def test_an_input_is_never_replaced(tmp_path):
    (tmp_path / "kick").mkdir()
    mix = tmp_path / "kick" / "kick.wav"
    mix.touch()
    with pytest.raises(PathError, match="into the folder of"):
        check_outputs([tmp_path / "kick"], [mix], overwrite=True)


def test_output_where_nobody_can_write():
    with pytest.raises(PathError, match="cannot be written"):
        check_outputs([Path("/proc/sep/song")], [], overwrite=False)
