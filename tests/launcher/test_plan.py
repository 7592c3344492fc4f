"""Requests are checked, plans are pure."""

from dataclasses import replace
from pathlib import Path, PurePath

import pytest

import sep_models
from sep_launcher.machine.host import Host, Native
from sep_launcher.planning import models
from sep_launcher.planning.choice import check, only
from sep_launcher.planning.choice import choose as choose_models
from sep_launcher.planning.environment import environment
from sep_launcher.planning.names import fitted
from sep_launcher.planning.naming import Found
from sep_launcher.planning.plan import plan
from sep_launcher.planning.request import Request
from sep_launcher.planning.route import Wanted, choose
from sep_protocol import Model, Output, dump_job, load_job
from sep_protocol.errors import UsageError

HOST = Host(system="linux", cores=1.5, native=Native(python="/py", source="own"))


def make(request, *found, model="larsnet"):
    found = found or (Found(path=Path("/music/song.wav"), name=PurePath("song")),)
    return plan(
        request,
        HOST,
        choose(HOST),
        found=list(found),
        chosen=only(Model(name=model)),
    )


def test_default_places():
    job = make(Request(files=("song.wav",), out=Path("/out"))).job
    track = job.tracks[0]
    assert (track.audio, track.out, track.stem_name) == (
        "/music/song.wav",
        "/out/song",
        "{stem}",
    )


def test_names_and_structure():
    request = Request(files=("album",), out=Path("/out"), name="{track} by {model}/{track} {stem}")
    found = Found(path=Path("/music/cd2/a {stem}.wav"), name=PurePath("cd2/a {stem}"))
    track = make(request, found).job.tracks[0]
    assert track.out == "/out/cd2/a {stem} by larsnet"
    assert track.file_of("kick") == "a {stem} kick"


@pytest.mark.parametrize("track", ["{model}", "{stem}", "{track}", "{{stem}}", "a{", "}b", "{x}"])
@pytest.mark.parametrize(
    ("name", "folder", "file"),
    [
        ("{track}/{stem}", "T", "kick"),
        ("{track}{model}/{track}{stem}{model}", "TM", "TkickM"),
        ("{{{track}}}/{{{stem}}}", "{T}", "{kick}"),
        ("{{track}} {track}/{{stem}} {stem} {{", "{track} T", "{stem} kick {"),
        ("x{{y}}{track}/{z{track}{stem}}", "x{y}T", "{zTkick}"),
    ],
)
def test_names_are_filled_in_once(track, name, folder, file):
    """Whatever looks like a placeholder in a name is that name."""
    found = Found(path=Path("/music/x.wav"), name=PurePath(track))
    request = Request(files=("x",), out=Path("/out"), name=name)
    made = make(request, found, model="m {track} {stem}").job.tracks[0]

    def meant(text):
        return text.replace("M", "m {track} {stem}").replace("T", track)

    assert made.out == f"/out/{meant(folder)}"
    assert made.file_of("kick") == meant(file)


@pytest.mark.parametrize("model", ["..", ".", "...", "a/..", "con", "a:b?", ""])
def test_a_model_name_never_leaves_out(model):
    request = Request(files=("x",), out=Path("/out"), name="{model}/{track}/{model}{stem}")
    track = make(request, model=model).job.tracks[0]
    assert Path(track.out).parent.parent == Path("/out")
    assert Path(track.out).parent.name not in ("", ".", "..", "con")
    assert not set(track.stem_name) & set("/:?")


def test_a_chain_and_a_mean_are_in_the_job(home):
    request = Request(
        files=("x",),
        out=Path("/out"),
        name="{track} by {model}/{stem}",
        model="larsnet",
        beside=("mini",),
        weights=(2.0, 1.0),
        from_mix="htdemucs",
        shifts=3,
        output=Output(stems=("kick",), intermediate=True, residual=True),
    )
    chosen = choose_models(request)
    made = plan(request, HOST, choose(HOST), found=songs("a.wav"), chosen=chosen)
    job = made.job
    assert [each.name for each in job.models] == ["htdemucs", "larsnet", "mdx23c-mini"]
    assert (job.from_mix.name, job.weights, job.shifts) == ("htdemucs", (2.0, 1.0), 3)
    assert job.tracks[0].out == f"/out/a by {job.called}"
    assert job.called == chosen.called == "htdemucs then larsnet+mdx23c-mini"
    assert made.expects == "a whole song"
    assert made.stems == ("kick", "drums", "bass", "other", "vocals", "residual")
    assert [each.name for each in made.missing] == ["htdemucs", "larsnet"]
    assert load_job(dump_job(job)) == job


def test_two_tracks_never_get_one_folder():
    found = [
        Found(path=Path(f"/music/{name}.wav"), name=PurePath(name)) for name in ("é", "E\u0301")
    ]
    with pytest.raises(UsageError, match="would both go into"):
        make(Request(files=("x",), out=Path("/out")), *found)


def songs(*paths):
    return [Found(path=Path("/music", path), name=PurePath(path).with_suffix("")) for path in paths]


def test_one_folder_for_the_stems_of_all():
    request = Request(files=("x",), out=Path("/out"), name="{track} {stem}")
    tracks = make(request, *songs("a.wav", "cd2/b.wav")).job.tracks
    assert [(each.out, each.shared) for each in tracks] == [("/out", True), ("/out", True)]
    assert [each.file_of("kick") for each in tracks] == ["a kick", "b kick"]
    assert [each.report for each in tracks] == ["a sep.json", "b sep.json"]
    assert [each.place() for each in tracks] == ["/out", "/out"]
    assert make(Request(files=("x",), out=Path("/out"))).job.tracks[0].place() == "/out"


@pytest.mark.parametrize(
    ("name", "out", "kick"),
    [
        ("{parent}/{track} {stem}", "/out/Song A", "drums kick"),
        ("{parent}/{stem}", "/out/Song A", "kick"),
        ("{parent} {stem}", "/out", "Song A kick"),
        ("./{parent} {stem}", "/out", "Song A kick"),
        ("{parent}/{track}/{stem}", "/out/Song A/drums", "kick"),
        ("{track}/{parent} {stem}", "/out/htdemucs/Song A/drums", "Song A kick"),
        ("x/{track}/{stem}", "/out/htdemucs/Song A/x/drums", "kick"),
    ],
)
def test_the_name_of_the_folder_that_a_file_lies_in(name, out, kick):
    request = Request(files=("x",), out=Path("/out"), name=name)
    (track,) = make(request, *songs("htdemucs/Song A/drums.wav")).job.tracks
    assert (track.out, track.file_of("kick")) == (out, kick)
    assert track.shared == (not track.out.endswith("drums"))


@pytest.mark.parametrize(
    ("path", "parent"), [("/x.wav", "_"), ("/con/x.wav", "con_"), ("/a/../b?/x.wav", "b_")]
)
def test_every_system_takes_the_name_of_a_folder(path, parent):
    request = Request(files=("x",), out=Path("/out"), name="{parent}/{track}/{stem}")
    found = Found(path=Path(path), name=PurePath("x"))
    assert make(request, found).job.tracks[0].out == f"/out/{parent}/x"


@pytest.mark.parametrize(
    ("name", "paths", "hint"),
    [
        ("{track} {stem}", ["A/drums.wav", "B/drums.wav"], "{parent}"),
        ("{track} {stem}", ["A/\u00e9.wav", "B/E\u0301.wav"], "{parent}"),
        ("{parent} {stem}", ["A/drums.wav", "A/bass.wav"], "{track}"),
        ("{parent}/{stem}", ["A/drums.wav", "A/bass.wav"], "{track}"),
        ("{parent}/{track} {stem}", ["x/A/drums.wav", "y/A/drums.wav"], "two --out"),
        ("{track}{stem}", ["A/x.wav", "A/xhi.wav"], "{parent}"),  # xhi + hat = x + hihat
    ],
)
def test_stems_of_two_songs_never_get_one_name(name, paths, hint):
    request = Request(files=("x",), out=Path("/out"), name=name)
    manifest = replace(sep_models.find("mdx23c-mini"), stems=("hat", "hihat"))
    found, chosen = songs(*paths), only(Model(name="m"), manifest)
    with pytest.raises(UsageError, match="would both go into") as caught:
        plan(request, HOST, choose(HOST), found=found, chosen=chosen)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("{artist}/{track}/{stem}", "{artist}"),
        ("{track}/{Stem}", "{Stem}"),
        ("{stem}/{track} {stem}", "{stem} in its folder"),
        ("{track}/{stem}{}", "{}"),
        ("{track}/{stem} {a b}", "{a b}"),
        ("{track:02}/{stem}", "{track:02}"),
    ],
)
def test_what_a_name_does_not_know_is_refused(name, told):
    with pytest.raises(UsageError, match="not filled in") as caught:
        Request(files=("x",), out=Path("/out"), name=name)
    assert told in caught.value.message
    assert all(each in caught.value.hint for each in ("{track}", "{stem}", "{model}", "{parent}"))
    Request(files=("x",), out=Path("/out"), name="{{artist}}/{track}/{{x}}{stem}")


def test_options_that_a_model_has_not_are_refused():
    larsnet, mini = (
        only(Model(name=name), sep_models.find(name)) for name in ("larsnet", "mdx23c-mini")
    )
    for options, chosen in (
        ({"overlap": 2.0}, larsnet),
        ({"overlap": 1e6}, mini),
        ({"output": Output(stems=("bass",))}, mini),
    ):
        with pytest.raises(UsageError):
            check(Request(files=("x",), out=Path("/out"), **options), chosen)
    fine = Request(files=("x",), out=Path("/out"), overlap=1.0, batch=2)
    check(fine, larsnet)
    check(fine, mini)


def test_bytes_that_are_no_text_stay():
    found = Found(path=Path("/music/caf\udce9.wav"), name=PurePath("caf\udce9"))
    request = Request(files=("x",), out=Path("/out"), name="{track}/{track} {stem}")
    track = make(request, found).job.tracks[0]
    assert track.audio == "/music/caf\udce9.wav"
    assert track.out == "/out/caf\udce9"
    assert track.file_of("kick") == "caf\udce9 kick"


def test_names_too_long_for_a_file_system_are_cut():
    assert fitted("short", 255) == "short"
    for text in ("x" * 300, "🥁" * 100, "é" * 200 + "end"):
        cut = fitted(text, 255)
        assert len(cut.encode()) <= 255
        assert cut != fitted(text + "!", 255)
        assert cut[0] == text[0]
        assert cut[-1] == text[-1]
    found = Found(path=Path("/m/x.wav"), name=PurePath("🥁" * 62))
    request = Request(files=("x",), out=Path("/out"), name="{track} {model}/{track} {stem}")
    track = make(request, found).job.tracks[0]
    assert len(Path(track.out).name.encode()) <= 255
    assert len(f"{track.file_of('x' * 60)}.flac.new".encode()) <= 255
    assert track.stem_name.endswith("{stem}")
    both = Request(files=("x",), out=Path("/out"), name="{track}/{track}{stem}{track}{stem}{track}")
    name = make(both, found).job.tracks[0].file_of("kick")
    assert name.count("kick") == 2
    assert len(name.encode()) <= 255


def test_threads_follow_the_quota():
    assert environment(HOST, choose(HOST))["OMP_NUM_THREADS"] == "2"
    assert "PYTORCH_ENABLE_MPS_FALLBACK" not in environment(HOST, choose(HOST))
    assert "MALLOC_TRIM_THRESHOLD_" in environment(HOST, choose(HOST))
    mac = Host(system="macos", arm=True, cores=8)
    assert environment(mac, choose(mac))["PYTORCH_ENABLE_MPS_FALLBACK"] == "1"


@pytest.mark.parametrize(
    "options",
    [
        {"output": Output(format="flac", bit_depth="float")},
        {"overlap": 0.5},
        {"overlap": float("nan")},
        {"overlap": float("inf")},
        {"batch": 0},
        {"batch": 10**20},
        {"model": ""},
        {"name": ""},
        {"name": "{{track}}/{stem}"},
        {"name": "{track}/{{stem}}"},
        {"name": "{track}?/{stem}"},
        {"name": "{track}/a\\{stem}"},
        {"name": "{track}/a\x1b{stem}"},
        {"name": "C:{track}/{stem}"},
        {"name": "{stem}"},
        {"name": "folder/{stem}"},
        {"name": "{track}/stem"},
        {"name": "../{track}/{stem}"},
        {"name": "/{track}/{stem}"},
        {"name": "/{track} {stem}"},
        {"name": ".sep-00000000-0/{track} {stem}"},
        {"name": ".sep-{track}{stem}"},
        {"memory": 1 << 30, "wanted": Wanted(engine="native")},
        {"output": Output(stems=("kick", "kick"))},
        {"output": Output(stems=("hh", "hihat"))},
        {"output": Output(stems=("kick", ""))},
        {"include": ("",)},
        {"weights": (2.0,)},
        {"model": "a", "weights": (2.0,)},
        {"model": "a", "beside": ("b",), "weights": (1.0, 2.0, 3.0)},
        {"model": "a", "beside": ("b",), "weights": (1.0, 0.0)},
        {"model": "a", "beside": ("b",), "weights": (1.0, float("nan"))},
        {"shifts": 0},
        {"shifts": 101},
        {"output": Output(intermediate=True)},
    ],
)
def test_requests_without_meaning_are_refused(options):
    with pytest.raises(UsageError):
        Request(files=("x",), out=Path("/out"), **options)


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (b"", "no safetensors"),
        (b"<html>404 Not Found</html>", "no safetensors"),
        (b"\x05\0\0\0\0\0\0\0[1,2]", "no safetensors"),
        (b"\x02\0\0\0\0\0\0\0{}", "no safetensors"),
        (b"\x00\x20\0\0\0\0\0\0" + b"[" * 8192, "no safetensors"),
        (b"\x00\x10\0\0\0\0\0\0{", "cut off"),
    ],
)
def test_weights_that_are_none(home, tmp_path, header, told):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(header)
    assert told in models.fault(sep_models.find("larsnet"), path, hashed=True)
    assert "missing" in models.fault(sep_models.find("larsnet"), tmp_path / "no", hashed=True)
