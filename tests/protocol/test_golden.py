"""The contract as files: whoever changes a message changes a file that a reviewer sees."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sep_protocol import (
    Bench,
    Benched,
    DeviceChosen,
    Done,
    Failed,
    Fallback,
    Hello,
    Install,
    Job,
    Measured,
    Model,
    ModelLoaded,
    Operator,
    Output,
    Peaks,
    Phase,
    Profiled,
    Progress,
    Published,
    Share,
    Track,
    TrackDone,
    TrackFailed,
    Tuned,
    Warned,
    dump_event,
    dump_job,
    escaped,
    fill,
    load_event,
    load_job,
    map_paths,
)
from sep_protocol.codec import FormError
from sep_protocol.errors import NotReadyError, UsageError

GOLDEN = Path(__file__).parent / "golden"

EVENTS = {
    "hello": Hello(job="0a1b2c3d", version="0.1.0", protocol=1, code="0123456789ab"),
    "phase": Phase(name="separate", track=0),
    "device": DeviceChosen(
        requested="auto", device="cuda:0", name="A GPU", torch="2.13.0", reason="NVIDIA GPU"
    ),
    "loaded": ModelLoaded(
        model="larsnet", precision="fp16", batch=8, snr=58.0, ways=("fused norms", "graph")
    ),
    "progress": Progress(track=0, done=44100, total=88200, sample_rate=44100),
    "peaks": Peaks(track=0, stem="kick", first=100, pairs="gX8AAA=="),
    "warning": Warned(message="{path} is left as it is", track=0, path="/app/out/.sep-0a1b2c3d-0"),
    "fallback": Fallback(was="mps", now="cpu", reason="mps failed: no kernel"),
    "track-done": TrackDone(
        track=0,
        out="/app/out/song",
        stems={"kick": "/app/out/song/kick.wav"},
        frames=88200,
        sample_rate=44100,
        chunk=130560,
        hop=65280,
        chunks=1,
        seconds=1.5,
        phases={"network": 1.25},
        clipped={"kick": 3},
        resumed=False,
    ),
    "track-failed": TrackFailed(
        track=1, error="AudioError", message="there is no file {path}", hint="", path="/app/in/0/x"
    ),
    "benched": Benched(
        model="mdx23c-mini",
        device="cpu",
        audio_seconds=30.0,
        runs=3,
        chunk=130560,
        hop=65280,
        peak_memory=1 << 30,
        measured=(Measured(scheme="sep", seconds=3.0, real_time=10.0, chunks=20, ratio=1.0),),
        gpu_memory=1 << 20,
        threads=2,
        snr=58.5,
        phases={"import": 2.0, "network": 2.5},
        tuning=(
            Tuned(
                operator="convolution",
                shape="64 to 64, 3x3, 128x128",
                way="nnpack",
                plain_ms=16.5,
                ms=11.0,
                error=4.5e-6,
            ),
        ),
        profile=Profiled(
            seconds=4.0,
            side="cpu",
            groups=(Share(group="convolutions", seconds=3.0, share=0.75),),
            operators=(
                Operator(
                    name="aten::mkldnn_convolution",
                    group="convolutions",
                    calls=640,
                    seconds=3.0,
                    share=0.75,
                ),
            ),
        ),
    ),
    "done": Done(done=1, failed=1, seconds=2.5, phases={"import": 1.0}),
    "failed": Failed(code=16, error="ModelError", message="no model", hint="sep models list"),
}
JOB = Job(
    id="0a1b2c3d",
    tracks=(
        Track(
            audio="/app/in/0/caf\udce9.wav",  # a name that is no UTF-8
            out="/app/out/caf\udce9",
            stem_name="caf\udce9 {stem}",
            shown="/music/caf\udce9.wav",
        ),
    ),
    model=Model(name="larsnet", folder="/app/models/larsnet", sha256="0123abcd"),
    beside=(Model(name="mdx23c-mini"),),
    weights=(2.0, 1.0),
    from_mix=Model(name="mine", folder="/app/models/mine"),
    shifts=4,
    output=Output(
        stems=("kick", "snare"),
        format="flac",
        bit_depth="24",
        intermediate=True,
        overwrite=True,
        verify=True,
    ),
    device="cuda:0",
    fallback=False,
    overlap=2.0,
    batch=4,
    precision="fp16",
    bench=Bench(seconds=30.0, runs=3, baselines=True, profile=True, trace="/app/out/0/trace.json"),
    install=Install(
        files=(Published(file="/app/in/1/kick.pth", stem="kick"),), folder="/app/models/larsnet"
    ),
    identity="4567cdef",
    host="node-7",
    tidy=False,
    sweep=("/app/out/0",),
    of=("00000001",),
)


@pytest.mark.parametrize("kind", EVENTS)
def test_event_is_its_golden_file(kind):
    line = (GOLDEN / f"{kind}.json").read_text(encoding="utf-8").rstrip("\n")
    assert dump_event(EVENTS[kind]) == line
    assert load_event(line) == EVENTS[kind]
    assert load_event(json.dumps({**json.loads(line), "new_field": 1})) == EVENTS[kind]


def test_job_is_its_golden_file():
    text = (GOLDEN / "job.json").read_text(encoding="utf-8")
    assert dump_job(JOB) == text
    assert load_job(text) == JOB
    raw = json.loads(text)
    raw["tracks"][0]["new_field"] = raw["new_field"] = [1]
    assert load_job(json.dumps(raw)) == JOB


def test_every_golden_file_is_tested():
    assert {path.stem for path in GOLDEN.iterdir()} == {*EVENTS, "job"}


def test_unknown_event_is_passed_over():
    assert load_event('{"event": "from-the-future", "x": 1}') is None


@pytest.mark.parametrize("line", ["", "hello", "[]", "{}", '{"event": 1}', '{"event": "phase"}'])
def test_what_is_no_event_is_told(line):
    with pytest.raises(FormError):
        load_event(line)


def test_other_protocol_fails_before_anything_else():
    raw = json.loads(dump_job(JOB)) | {"protocol": 2, "tracks": "of another shape"}
    with pytest.raises(NotReadyError, match="speaks protocol 2"):
        load_job(json.dumps(raw))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("tracks",), "song.wav"),
        (("tracks", 0, "audio"), None),
        (("tracks", 0, "stem_name"), "no place for the stem"),
        (("tracks", 0, "stem_name"), "../{stem}"),
        (("output", "format"), "exe"),
        (("overlap",), "2"),
        (("batch",), True),
        (("model",), {}),
    ],
)
def test_job_of_wrong_form_names_the_field(path, value):
    raw = json.loads(dump_job(JOB))
    place = raw
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(UsageError, match=str(path[-1]) if value != {} else "name"):
        load_job(json.dumps(raw))


def test_only_paths_are_translated_and_back():
    there = map_paths(JOB, lambda path: path.replace("/app", "/host"))
    assert there.tracks[0].audio == "/host/in/0/caf\udce9.wav"
    assert there.model.folder == "/host/models/larsnet"
    assert there.model.checkpoint is None
    assert there.sweep == ("/host/out/0",)
    assert there.bench.trace == "/host/out/0/trace.json"
    assert (there.id, there.device, there.output) == (JOB.id, JOB.device, JOB.output)
    assert map_paths(there, lambda path: path.replace("/host", "/app")) == JOB
    done = map_paths(EVENTS["track-done"], str.upper)
    assert done.stems == {"kick": "/APP/OUT/SONG/KICK.WAV"}
    assert done.phases == {"network": 1.25}


def test_paths_are_bytes():
    """What is no UTF-8, and what is, comes through any encoding as it was."""
    name = os.fsdecode("曲 caf\u00e9 ".encode() + b"\xe9\xff")
    done = EVENTS["track-done"]
    event = replace(done, out=name, stems={"kick": f"{name}/kick.wav"})
    line = dump_event(event)
    assert line.isascii()
    assert load_event(line) == event
    job = replace(JOB, sweep=(name,))
    assert dump_job(job).isascii()
    assert os.fsencode(load_job(dump_job(job)).sweep[0]) == os.fsencode(name)


@given(st.text(), st.text())
def test_what_is_escaped_is_filled_in_as_it_is(name, stem):
    assert fill(escaped(name), {"stem": "no", "track": "no"}) == name
    assert fill(escaped(name) + "{stem}", {"stem": stem}) == name + stem


def test_what_is_filled_in_is_not_filled_again():
    assert fill("{track} {stem} {x}", {"track": "{stem}", "stem": "kick"}) == "{stem} kick {x}"
    track = Track(audio="/a", out="/b", stem_name=escaped("{stem}") + " {stem}")
    assert track.file_of("kick") == "{stem} kick"


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("failed", "code", 0),
        ("failed", "code", 256),
        ("failed", "code", -1),
        ("progress", "sample_rate", 0),
        ("progress", "done", -1),
        ("progress", "total", 1 << 63),
        ("progress", "track", -1),
        ("track-done", "sample_rate", 0),
        ("track-done", "frames", 10**400),
        ("track-done", "seconds", float("inf")),
        ("track-done", "seconds", float("nan")),
        ("done", "seconds", 10**400),
        ("track-failed", "track", -1),
    ],
)
def test_what_no_runtime_says_is_refused(kind, field, value):
    raw = json.loads((GOLDEN / f"{kind}.json").read_text(encoding="utf-8"))
    with pytest.raises(FormError):
        load_event(json.dumps({**raw, field: value}))


def test_deep_json_is_refused():
    with pytest.raises(FormError):
        load_event("[" * 100_000)
