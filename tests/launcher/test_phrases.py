"""What a run says to people, for machines and ends that are not here."""

import re
from dataclasses import replace
from pathlib import Path, PurePath

import pytest

from sep_launcher.machine.host import Docker, Gpu, Host, Native
from sep_launcher.planning import places
from sep_launcher.planning.choice import only
from sep_launcher.planning.files import Found
from sep_launcher.planning.plan import plan
from sep_launcher.planning.request import Request
from sep_launcher.planning.route import Wanted, choose
from sep_launcher.show import folded, phrases
from sep_launcher.show.finding import Finding, Group
from sep_launcher.show.report import Report
from sep_protocol import DeviceChosen, Model, ModelLoaded, TrackDone, TrackFailed
from sep_protocol.errors import NotReadyError

OWN = Native(python="/env/bin/python", source="own")
GPU = Gpu(name="NVIDIA GeForce RTX 4090", driver="570.1", capability=8.9, memory=1 << 34)
LINUX = Host(system="linux", native=OWN)
NVIDIA = replace(LINUX, gpus=(GPU,))
IMAGES = Docker(endpoint="unix:///x", images=("cpu", "cuda"))


@pytest.mark.parametrize(
    ("host", "wanted", "told"),
    [
        (LINUX, Wanted(), "on the CPU (no GPU found)"),
        (LINUX, Wanted(device="cpu"), "on the CPU"),
        (replace(LINUX, docker=IMAGES), Wanted(), "on the CPU (no GPU found), in a container"),
        (NVIDIA, Wanted(), "on the NVIDIA GPU (GeForce RTX 4090)"),
        (
            replace(LINUX, native=replace(OWN, cuda=True)),
            Wanted(device="cuda"),
            "on the NVIDIA GPU",
        ),
        (
            replace(NVIDIA, native=replace(OWN, cuda=False)),
            Wanted(),
            "on the CPU (the GPU is not used: see sep doctor)",
        ),
        (
            replace(NVIDIA, docker=IMAGES),
            Wanted(),
            "on the NVIDIA GPU (GeForce RTX 4090), in a container",
        ),
        (Host(system="macos", arm=True, native=OWN), Wanted(), "on the Apple GPU"),
        (Host(system="macos", arm=True, native=OWN), Wanted(device="cpu"), "on the CPU"),
    ],
)
def test_a_place_is_in_words(host, wanted, told):
    assert places.place(host, choose(host, wanted), wanted) == told


def test_devices_are_in_words():
    told = [places.device(each) for each in ("cpu", "mps", "cuda", "cuda:0", "cuda:1", "xpu")]
    gpu = "the NVIDIA GPU"
    assert told == ["the CPU", "the Apple GPU", gpu, gpu, f"{gpu} 1", "xpu"]


@pytest.fixture
def report(tmp_path, monkeypatch):
    """A report of a run of some songs, none of which has ended."""
    monkeypatch.chdir(tmp_path)

    def make(*songs, chosen=None):
        found = [Found(path=tmp_path / each, name=PurePath(each).with_suffix("")) for each in songs]
        request = Request(files=songs, out=Path("out"))
        made = plan(
            request,
            LINUX,
            choose(LINUX),
            found=found,
            chosen=chosen or only(Model(name="mdx23c-mini")),
        )
        device = DeviceChosen(
            requested="auto", device="cuda:0", name="A GPU", torch="2.13.0", reason="it is there"
        )
        return Report(plan=made, device=device)

    return make


def ended(report, track, **changes):
    out = report.plan.job.tracks[track].out
    done = TrackDone(
        track=track,
        out=out,
        stems={"kick": f"{out}/kick.wav", "snare": f"{out}/snare.wav"},
        frames=441000,
        sample_rate=44100,
        chunk=1,
        hop=1,
        chunks=1,
        seconds=2.0,
    )
    done = replace(done, **changes)
    report.take(done)
    return done


def test_the_device_that_is_told_is_the_one_that_was_used(report):
    """The plan was the CPU; the runtime took a GPU."""
    found = report("a.wav")
    assert phrases.start(found.plan) == "a.wav: on the CPU (no GPU found), model mdx23c-mini"
    first, files = phrases.done(found, ended(found, 0), 4.0)
    where = Path("out", "a")
    assert first == f"done: 2 stems in 4.0 s on the NVIDIA GPU (2.5x real time) -> {where}"
    assert files.split() == ["kick.wav", "snare.wav"]
    assert phrases.end(found, 4.0) == []


@pytest.mark.parametrize(
    ("loaded", "told", "more"),
    [
        (ModelLoaded(precision="fp32", batch=8), "", [["precision", "fp32, 8 pieces at once"]]),
        (
            ModelLoaded(precision="fp16", batch=8, snr=58.2, ways=("fused norms", "graph")),
            ", fp16, 8 pieces at once",
            [
                ["precision", "fp16, 58 dB beside fp32, 8 pieces at once"],
                ["fused norms, graph"],
            ],
        ),
        (
            ModelLoaded(precision="bf16", batch=1),
            ", bf16",
            [["precision", "bf16, 1 piece at once"]],
        ),
    ],
)
def test_how_it_ran_is_told_where_it_is_not_plain(report, loaded, told, more):
    found = report("a.wav")
    found.take(loaded)
    first, _ = phrases.done(found, ended(found, 0), 4.0)
    assert f"in 4.0 s on the NVIDIA GPU{told} (2.5x" in first
    details = [re.split(r"  +", each.strip()) for each in phrases.details(found)]
    start = details.index(more[0])
    assert details[start : start + len(more)] == more
    device = found.document()["device"]
    assert (device["precision"], device["batch"]) == (loaded.precision, loaded.batch)


def test_a_model_that_was_not_loaded_runs_in_no_precision(report):
    device = report("a.wav").document()["device"]
    assert (device["precision"], device["batch"], device["snr"]) == (None, None, None)


def test_a_batch_ends_with_its_sum_and_what_failed(report):
    found = report("x/a.wav", "y/a.wav", "b.wav", "c.wav")
    done = ended(found, 0)
    a = Path("x", "a.wav")
    assert phrases.done(found, done, 9.0) == [f"1/4 done: {a}, 2.0 s (5.0x real time)"]
    before = ended(found, 1, resumed=True, seconds=0.0)
    a = Path("y", "a.wav")
    assert phrases.done(found, before, 9.0) == [f"2/4 done before: {a}"]
    failed = TrackFailed(track=2, error="AudioError", message="it is no audio", hint="x")
    found.take(failed)
    assert phrases.failed(found, failed) == "3/4 failed: b.wav: it is no audio"
    # The last one was never reached.
    total, *faults = phrases.end(found, 20.0)
    took = "in 20 s on the NVIDIA GPU (0.5x real time), 1 of them done before"
    assert total == f"done: 2 of 4 tracks {took} -> out"
    assert faults == [
        "failed: 1 of 4 tracks",
        "  b.wav: it is no audio",
    ]


def test_a_batch_that_was_done_before_has_no_speed(report):
    found = report("a.wav", "b.wav")
    for track in (0, 1):
        ended(found, track, resumed=True)
    assert phrases.end(found, 3.0) == ["done: 2 tracks, 2 of them done before -> out"]


def finding(fix):
    return Finding(
        id="an-id",
        group=Group.ENGINE,
        severity="error",
        title="A title",
        detail="",
        breaks="",
        fix=fix,
    )


@pytest.mark.parametrize(
    ("hint", "fix", "same"),
    [
        ("sep models pull larsnet", "sep models pull NAME; the bundled one: sep setup", True),
        ("run: sep setup --repair", "sep setup --repair", True),
        ("--memory raises the limit", "run with more, --memory 4g", True),
        ("start Docker, or take --engine native", "sudo usermod -aG docker $USER", False),
        ("", "sep setup", False),
    ],
)
def test_one_way_to_mend_it_is_told_once(hint, fix, same):
    found = Report()
    found.fail(NotReadyError("it is not there", hint=hint))
    told = list(folded.faults(found.error, [finding(fix)]))
    if same:
        assert told == [("error: it is not there [an-id]", hint)]
    else:
        assert told == [("error: it is not there", hint), ("sep doctor: A title [an-id]", fix)]
    assert list(folded.faults(None, [finding(fix)])) == [("sep doctor: A title [an-id]", fix)]
