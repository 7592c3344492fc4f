"""Files, folders and globs, as a person names them."""

import json
import os
import socket
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from sep_launcher.planning.files import find
from sep_launcher.planning.outputs import check_outputs, check_shared
from sep_protocol import Output, Track
from sep_protocol.errors import PathError, UsageError

GROOVE = Path(__file__).parent.parent.parent / "examples"


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
    assert names("album/01.wav", "album/cd2/01.wav") == ["album/01", "cd2/01"]


@pytest.fixture
def albums(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        *("A/01.wav", "A/cd2/02.wav", "B/01.wav", "B/03.mp3", "far/A/01.wav"),
        *("htdemucs/Song A/drums.wav", "htdemucs/Song A/bass.wav", "htdemucs/Song B/drums.wav"),
        *("htdemucs/Song B/vocals.mp4", "song.wav"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "made"),
    [
        # Folders below a named folder, or below the fixed part of a glob, are kept.
        (["A"], ["01", "cd2/02"]),
        (["A/"], ["01", "cd2/02"]),
        (["./A/../A"], ["01", "cd2/02"]),
        (["htdemucs/*/drums.wav"], ["Song A/drums", "Song B/drums"]),
        (["htdemucs/Song A/*.wav"], ["bass", "drums"]),
        (["htdem*/**/drums.wav"], ["htdemucs/Song A/drums", "htdemucs/Song B/drums"]),
        (["A/*/../01.wav"], ["01"]),
        # Several that were named keep their names.
        (["A", "B"], ["A/01", "A/cd2/02", "B/01", "B/03"]),
        (["A", "far/A"], ["{here}/A/01", "{here}/A/cd2/02", "far/A/01"]),
        (["far/A/*", "A/*"], ["far/A/01", "{here}/A/01"]),
        (["A", "song.wav"], ["A/01", "A/cd2/02", "song"]),
        (["A/", "A", "A/01.wav"], ["01", "cd2/02"]),
        (["B", "far/.."], ["B/01", "B/03", "song", "A/01", "A/cd2/02", "far/A/01",
          "htdemucs/Song A/bass", "htdemucs/Song A/drums", "htdemucs/Song B/drums"]),
        (["*.wav", "B/*.wav"], ["song", "B/01"]),
        # Files alone are called after themselves, unless two are called alike.
        (["song.wav", "A/01.wav"], ["song", "01"]),
        (["song.wav", "A/01.wav", "A/cd2/02.wav", "B/01.wav"], ["song", "A/01", "02", "B/01"]),
        (["B/01.wav", "B/03.mp3", "A/01.wav"], ["B/01", "B/03", "A/01"]),
        (["A/01.wav", "far/A/01.wav"], ["{here}/A/01", "far/A/01"]),
    ],
    ids=str,
)  # fmt: skip
def test_songs_keep_their_names(albums, patterns, made):
    assert names(*patterns) == [each.format(here=albums.name) for each in made]


def test_a_song_beside_changes_no_name(albums):
    """Names depend on what was named: `--resume` finds what it made before."""
    for i, patterns in enumerate((["A", "B"], ["htdemucs/*/drums.wav"], ["A/*", "far/A/*"])):
        before = {each.path: each.name for each in find(tuple(patterns)).files}
        for name in (f"A/{i}.wav", f"B/{i}.mp3", f"htdemucs/Song {i}/drums.wav", f"far/A/{i}.wav"):
            (albums / name).parent.mkdir(exist_ok=True)
            (albums / name).touch()
        after = {each.path: each.name for each in find(tuple(patterns)).files}
        assert len(after) > len(before)
        assert before.items() <= after.items()


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_folders_that_are_links_or_alike(albums):
    (albums / "link").symlink_to("B")
    assert names("A", "link") == ["A/01", "A/cd2/02", "link/01", "link/03"]
    assert names("link", "B") == ["link/01", "link/03"]
    for name in ("a?/01.wav", "a*/01.wav", "con/01.wav", "x./01.wav"):
        (albums / name).parent.mkdir()
        (albums / name).touch()
    assert names("con", "x.") == ["con_/01", "x/01"]
    assert names("a?", "./a*") == ["a_/01", "a_/01-2"]  # each is there as it is typed
    assert names("a?/01.wav", "a*/01.wav") == ["01", "01-2"]  # no folder tells them apart


def test_folders_at_the_root():
    assert [each.name.as_posix() for each in find((str(GROOVE),)).files] == ["groove"]


@pytest.mark.parametrize(
    ("include", "made"),
    [
        (["drums.*"], ["Song A/drums", "Song B/drums"]),
        (["DRUMS.WAV"], ["Song A/drums", "Song B/drums"]),
        (["song a/*"], ["Song A/bass", "Song A/drums"]),
        (["./Song A/d*", "bass*"], ["Song A/bass", "Song A/drums"]),
        (["*.mp4"], ["Song B/vocals"]),
    ],
)
def test_include(albums, include, made):
    found = find(("htdemucs",), tuple(include))
    assert [each.name.as_posix() for each in found.files] == made
    assert not found.warnings


def test_include_that_finds_nothing(albums):
    with pytest.raises(PathError, match="--include matches no audio in A") as caught:
        find(("htdemucs", "A"), ("drums.*",))
    assert caught.value.hint == "what is there: 01.wav and 1 more"
    with pytest.raises(UsageError, match="none was named"):
        find(("A/*", "song.wav"), ("drums.*",))


def test_what_sep_made_is_passed_over(albums):
    made = albums / "A" / "made"
    (made / "own").mkdir(parents=True)
    for name in ("Song kick.wav", "Song sep.json", "Song new.wav", "own/kick.wav", "own/sep.json"):
        (made / name).touch()
    (made / "x sep.json").write_text("[" * 100_000)
    report = {"sep": "0.1.0", "stems": {"kick": {"file": "Song kick.wav"}}}
    (made / "Song sep.json").write_text(json.dumps(report))
    os.mkfifo(made / "pipe sep.json")
    assert names("A") == ["01", "cd2/02", "made/Song new"]
    assert names("A/made/*.wav") == ["Song new"]
    assert names("A/**/*.wav") == ["01", "cd2/02", "made/Song new"]
    assert names("A/made/Song kick.wav") == ["Song kick"]
    with pytest.raises(PathError, match="no audio file matches") as caught:
        find(("A/made/own/*",))
    assert "made are passed over" in caught.value.hint


def shared(out, *songs):
    return [
        Track(audio=f"/m/{song}", out=str(out), shared=True, stem_name=f"{song} {{stem}}")
        for song in songs
    ]


def test_stems_in_a_shared_folder_are_refused_by_name(tmp_path):
    tracks = shared(tmp_path, "a", "b")
    check_shared(tracks, ["kick", "snare"], [], Output())
    (tmp_path / "b snare.wav").touch()
    (tmp_path / "a kick.flac").touch()
    with pytest.raises(PathError, match=r"b snare\.wav exists already") as caught:
        check_shared(tracks, ["kick", "snare"], [], Output())
    assert "--overwrite" in caught.value.hint
    with pytest.raises(PathError, match="exists already"):  # not done: there is no report
        check_shared(tracks, ["kick", "snare"], [], Output(resume=True))
    check_shared(tracks, ["kick", "snare"], [], Output(overwrite=True))
    (tmp_path / ".sep-0a1b2c3d-0").mkdir()  # begun: the runtime ends it first
    check_shared(tracks, ["kick", "snare"], [], Output(resume=True))
    (tmp_path / "a sep.json").touch()
    with pytest.raises(PathError, match=r"a sep\.json and 1 more exist already"):
        check_shared(tracks, ["snare"], [], Output())
    with pytest.raises(PathError, match=r"a sep\.json exists already"):  # of unknown stems
        check_shared(tracks, [], [], Output())


def test_what_is_no_file_in_a_shared_folder_is_not_replaced(tmp_path):
    (tmp_path / "a kick.wav").mkdir()
    for output in (Output(), Output(overwrite=True), Output(resume=True)):
        with pytest.raises(PathError, match="is not replaced"):
            check_shared(shared(tmp_path, "a"), ["kick"], [], output)
    (tmp_path / "file").touch()
    with pytest.raises(PathError, match="is not a folder"):
        check_shared(shared(tmp_path / "file", "a"), ["kick"], [], Output())


def test_a_song_in_the_shared_folder_is_refused(tmp_path):
    (tmp_path / "a.wav").touch()
    with pytest.raises(PathError, match="into the folder of"):
        check_shared(shared(tmp_path, "a"), ["kick"], [tmp_path / "a.wav"], Output(overwrite=True))


def test_stems_of_another_song_are_told_with_a_way_out(tmp_path):
    for name in ("A", "B", "x/01"):
        (tmp_path / name).mkdir(parents=True)
    report = {"mix": {"path": str(tmp_path / "A" / "01.wav")}}
    (tmp_path / "x" / "01" / "sep.json").write_text(json.dumps(report))
    done = [tmp_path / "x" / "01"]
    with pytest.raises(PathError, match=r"(?m)made of .*A/01\.wav$") as caught:
        check_outputs(done, [tmp_path / "B" / "01.wav"], overwrite=False)
    assert "{parent}/{track}" in caught.value.hint
    with pytest.raises(PathError, match=r"(?m)already$"):
        check_outputs(done, [tmp_path / "A" / ".." / "A" / "01.wav"], overwrite=False)


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
    assert [os.fsencode(each.name) for each in found.files] == [b"caf\xe9", b"al\xffbum/\x85"]
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
    with pytest.raises(PathError, match=r"(?m)in: in/gone\.wav is a link to nothing$"):
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
    other = tmp_path / "other"
    other.mkdir()
    (other / "kick.wav").touch()
    with pytest.raises(PathError, match="song and 1 more exist already"):
        check_outputs([done, other], [], overwrite=False)
    check_outputs([done], [], overwrite=True)


def test_output_at_or_below_a_file_is_refused(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(PathError, match="out is not a folder"):
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
    assert found.warnings == (f"videos in {tmp_path} were left out: name the 2 there",)
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


def test_a_name_that_the_shell_has_parted_has_a_hint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "My Loops 2").mkdir()
    with pytest.raises(PathError) as caught:
        find(("My", "Loops", "2"))
    assert caught.value.hint == "a name with spaces needs quotes: 'My Loops 2'"


@pytest.mark.parametrize("shared", [False, True])
def test_overwrite_replaces_no_other_song(tmp_path, shared):
    """A song of the same name from elsewhere: its stems go only when it is gone itself."""
    other, mix, out = tmp_path / "a" / "x.wav", tmp_path / "b" / "x.wav", tmp_path / "out"
    for each in (other, mix):
        each.parent.mkdir()
        each.touch()
    track = Track(audio=str(mix), out=str(out), shared=shared, stem_name="x {stem}")
    out.mkdir()
    (out / track.report).write_text(json.dumps({"mix": {"path": str(other)}}))

    def check():
        if shared:
            check_shared([track], ["kick"], [mix], Output(overwrite=True))
        else:
            check_outputs([out], [mix], overwrite=True)

    with pytest.raises(PathError, match="made of another song"):
        check()
    other.unlink()
    check()
