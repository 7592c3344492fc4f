"""Paths between this host and the container: a bijection, for every kind of host."""

import os
import string
from dataclasses import replace
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sep_launcher.engines.docker.translate import Mapping, check_mountable, mapping
from sep_protocol import Bench, Job, Model, Track, dump_job, load_job
from sep_protocol.errors import PathError

# What a file may be called: anything but separators, on Windows without what it forbids.
POSIX = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=12
).filter(lambda name: name not in (".", ".."))
BYTES = (
    st.binary(min_size=1, max_size=12)
    .map(lambda raw: os.fsdecode(raw.replace(b"/", b"_").replace(b"\0", b"_")))
    .filter(lambda name: name not in (".", ".."))
)
WINDOWS = st.text(
    st.characters(blacklist_characters='/\\:*?"<>|\0', blacklist_categories=("Cs", "Cc")),
    min_size=1,
    max_size=12,
).filter(lambda name: name.strip(". ") == name)


def posix_paths(least=2):
    return st.lists(POSIX, min_size=least, max_size=5).map(lambda parts: "/" + "/".join(parts))


def windows_paths(least=2):
    drive = st.sampled_from([f"{letter}:\\" for letter in string.ascii_uppercase])
    names = st.lists(WINDOWS, min_size=least, max_size=5)
    return st.tuples(drive, names).map(lambda each: each[0] + "\\".join(each[1]))


def job(tracks, **model):
    return Job(
        id="0000000a",
        tracks=tuple(Track(audio=audio, out=out) for audio, out in tracks),
        model=Model(name="mini", **model),
    )


def identical(path):
    return path


@pytest.mark.parametrize(
    ("flavour", "paths"),
    [(PurePosixPath, posix_paths), (PureWindowsPath, windows_paths)],
    ids=["posix", "windows"],
)
def test_there_and_back(flavour, paths):
    @given(st.lists(st.tuples(paths(), paths()), min_size=1, max_size=6))
    def check(tracks):
        wanted = job(tracks)
        mapped = mapping(wanted, flavour, identical)
        inside = mapped.job(wanted)
        for there, here in zip(inside.tracks, wanted.tracks, strict=True):
            assert there.audio.startswith("/app/in/")
            assert there.out.startswith("/app/out/")
            assert flavour(mapped.to_host(there.audio)) == flavour(here.audio)
            assert flavour(mapped.to_host(there.out)) == flavour(here.out)
        # Different files stay different, equal ones equal.
        assert len({track.audio for track in inside.tracks}) == len(
            {flavour(track.audio) for track in wanted.tracks}
        )
        assert len({bind.inside for bind in mapped.binds}) == len(mapped.binds)

    check()


@given(BYTES, BYTES)
def test_names_of_any_bytes_go_through_below_a_folder_that_can_be_mounted(audio, out):
    wanted = job([(f"/music/{audio}", f"/out/{out}")])
    mapped = mapping(wanted, PurePosixPath, identical)
    inside = load_job(dump_job(mapped.job(wanted))).tracks[0]
    assert (inside.audio, inside.out) == (f"/app/in/0/{audio}", f"/app/out/0/{out}")
    assert mapped.to_host(inside.audio) == f"/music/{audio}"
    assert mapped.to_host(inside.out) == f"/out/{out}"


def test_a_folder_of_any_bytes_goes_through_below_one_that_is_mounted():
    wanted = job([("/music/a.wav", "/out/a"), ("/music/caf\udce9/b.wav", "/out/caf\udce9/b")])
    mapped = mapping(wanted, PurePosixPath, identical)
    assert mapped.job(wanted).tracks[1].audio == "/app/in/0/caf\udce9/b.wav"
    with pytest.raises(PathError, match="not named in UTF-8"):
        mapping(job([("/music/caf\udce9/b.wav", "/out/b")]), PurePosixPath, identical)


def places(mapped: Mapping):
    return {str(bind.host): (str(bind.inside), bind.writable) for bind in mapped.binds}


def test_one_mount_for_a_tree_and_none_for_more():
    mapped = mapping(
        job(
            [
                ("/music/cd1/a.wav", "/out/cd1/a"),
                ("/music/cd1/live/b.wav", "/out/cd1/live/b"),
                ("/music/cd2/c.wav", "/out/cd2/c"),
            ]
        ),
        PurePosixPath,
        identical,
    )
    assert places(mapped) == {
        "/music/cd1": ("/app/in/0", False),
        "/music/cd2": ("/app/in/1", False),
        "/out/cd1": ("/app/out/0", True),
        "/out/cd2": ("/app/out/1", True),
    }
    assert mapped.reading("/music/cd1/live/b.wav") == "/app/in/0/live/b.wav"


def test_a_prefix_of_a_name_is_no_parent():
    mapped = mapping(job([("/a/b/x", "/o/x"), ("/a/bc/y", "/o/y")]), PurePosixPath, identical)
    assert mapped.reading("/a/bc/y") == "/app/in/1/y"
    assert mapped.to_host("/app/in/1/y") == "/a/bc/y"
    assert mapped.to_host("/app/in/10/y") == "/app/in/10/y"


def test_the_same_folder_is_read_and_written():
    """Stems of a stem: what is read stays read-only, whatever is written beside it."""
    mapped = mapping(
        job([("/s/separated/other/drums.wav", "/s/separated/drums")]), PurePosixPath, identical
    )
    assert mapped.reading("/s/separated/other/drums.wav") == "/app/in/0/drums.wav"
    assert mapped.writing("/s/separated/drums") == "/app/out/0/drums"
    with pytest.raises(PathError, match="in no folder"):
        mapped.writing("/elsewhere/x")


def test_a_shared_folder_is_mounted_itself():
    tracks = tuple(
        Track(audio=f"/m/{name}.wav", out=out, shared=True, stem_name=f"{name} {{stem}}")
        for name, out in (("a", "/o/all"), ("b", "/o/all"), ("c", "/o/all/more"), ("d", "/o/x"))
    )
    wanted = Job(id="0000000a", tracks=tracks, model=Model(name="mini"))
    mapped = mapping(wanted, PurePosixPath, identical)
    assert places(mapped) == {
        "/m": ("/app/in/0", False),
        "/o/all": ("/app/out/0", True),
        "/o/x": ("/app/out/1", True),
    }
    inside = mapped.job(wanted)
    assert [each.out for each in inside.tracks] == [
        *("/app/out/0", "/app/out/0", "/app/out/0/more", "/app/out/1"),
    ]
    assert all(each.shared for each in inside.tracks)
    assert [mapped.to_host(each.out) for each in inside.tracks] == [each.out for each in tracks]
    assert mapped.to_host("/app/out/0/a kick.wav") == "/o/all/a kick.wav"
    windows = Track(audio="C:\\m\\a.wav", out="D:\\o", shared=True)
    there = mapping(
        Job(id="0000000a", tracks=(windows,), model=Model(name="mini")), PureWindowsPath, identical
    )
    assert there.writing("d:\\O") == "/app/out/0"


def test_a_link_out_of_a_tree_gets_its_own_mount(tmp_path):
    (tmp_path / "out" / "in").mkdir(parents=True)
    (tmp_path / "far").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "far")
    wanted = job(
        [
            ("/m/a.wav", f"{tmp_path}/out/a"),
            ("/m/b.wav", f"{tmp_path}/out/in/b"),
            ("/m/c.wav", f"{tmp_path}/out/link/c"),
        ]
    )
    mapped = mapping(wanted, PurePosixPath, os.path.realpath)
    assert [mapped.writing(track.out) for track in wanted.tracks] == [
        "/app/out/0/a",
        "/app/out/0/in/b",
        "/app/out/1/c",
    ]
    assert mapped.to_host("/app/out/1/c") == f"{tmp_path}/out/link/c"
    assert str(tmp_path / "far") in [bind.source for bind in mapped.binds]


def test_windows_does_not_care_about_case():
    mapped = mapping(
        job([("C:\\Music\\A.wav", "D:\\Out\\A"), ("c:\\music\\b.wav", "d:\\out\\b")]),
        PureWindowsPath,
        identical,
    )
    assert len(mapped.binds) == 2
    assert mapped.reading("c:\\MUSIC\\b.wav") == "/app/in/0/b.wav"
    assert mapped.to_host("/app/in/0/A.wav").lower() == "c:\\music\\a.wav"


def test_what_a_bench_leaves_is_written():
    left = Bench(trace="/music/why/trace.json", mix="/made/sep-bench-1/mix.wav")
    there = Job(id="0a1b2c3d", tracks=(), model=Model(name="x"), bench=left)
    mapped = mapping(there)
    inside = mapped.job(there).bench
    assert inside.trace == mapped.writing("/music/why") + "/trace.json"
    assert inside.mix == mapped.writing("/made/sep-bench-1") + "/mix.wav"
    assert mapped.to_host(inside.trace) == left.trace
    assert all(bind.writable for bind in mapped.binds)
    assert mapping(replace(there, bench=Bench())).binds == ()


def test_every_model_has_a_mount_of_its_own():
    """Whatever their folders are called; the files of checkpoints lie where mixes do."""
    there = Job(
        id="0000000a",
        tracks=(Track(audio="/m/a.wav", out="/o/a"),),
        from_mix=Model(name="htdemucs", folder="/data/models/htdemucs"),
        model=Model(name="mine", folder="/data/models/mine"),
        beside=(
            Model(name="mine", folder="/other/mine"),
            Model(name="x", checkpoint="/m/x.ckpt", settings="/y/x.yaml"),
            Model(name="mdx23c-mini"),
        ),
        weights=(1.0, 2.0, 3.0, 4.0),
    )
    mapped = mapping(there, PurePosixPath, identical)
    inside = mapped.job(there)
    assert [each.folder for each in inside.models] == [
        *("/app/models/htdemucs", "/app/models/mine", "/app/models/mine-2", None, None),
    ]
    x = inside.beside[1]
    assert (x.checkpoint, x.settings) == ("/app/in/0/x.ckpt", "/app/in/1/x.yaml")
    assert len({bind.inside for bind in mapped.binds}) == len(mapped.binds) == 6
    assert [bind.writable for bind in mapped.binds].count(True) == 1
    assert mapped.to_host("/app/models/mine-2/weights.safetensors").startswith("/other/mine/")
    assert load_job(dump_job(inside)) == inside


def test_a_model_that_is_reached_by_a_link_beside_the_mixes(tmp_path):
    """In the container that link would lead nowhere."""
    (tmp_path / "far" / "mine").mkdir(parents=True)
    (tmp_path / "models").symlink_to(tmp_path / "far")
    folder = f"{tmp_path}/models/mine"
    wanted = job([(f"{tmp_path}/a.wav", "/o/a")], folder=folder)
    mapped = mapping(wanted, PurePosixPath, os.path.realpath)
    assert mapped.job(wanted).model.folder == "/app/models/mine"
    assert str(tmp_path / "far" / "mine") in [bind.source for bind in mapped.binds]


def test_models_are_read_only():
    mapped = mapping(
        job([("/m/a", "/o/a")], folder="/data/models/larsnet"), PurePosixPath, identical
    )
    assert mapped.job(job([("/m/a", "/o/a")], folder="/data/models/larsnet")).model.folder == (
        "/app/models/larsnet"
    )
    assert not next(bind for bind in mapped.binds if "models" in str(bind.inside)).writable


@pytest.mark.parametrize(
    ("folder", "told"),
    [
        (PureWindowsPath(r"\\nas\music\drums"), "on a network"),
        (PureWindowsPath(r"\\wsl$\Debian\home\me"), "of a Linux machine"),
        (PureWindowsPath(r"\\wsl.localhost\Debian\home"), "of a Linux machine"),
        (PureWindowsPath(r"music\drums"), "not an absolute path"),
        (PureWindowsPath(r"C:music"), "not an absolute path"),
        (PurePosixPath("music"), "not an absolute path"),
        (PurePosixPath("/music/\udcff"), "not named in UTF-8"),
    ],
)
def test_what_docker_cannot_mount_is_told(folder, told):
    with pytest.raises(PathError, match=told):
        check_mountable(folder)
