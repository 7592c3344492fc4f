"""How many runtimes share a run, on which devices, with how many threads; how much it will be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sep_launcher.machine.host import Docker, Gpu, Host, Native
from sep_launcher.machine.lengths import Length, length, lengths
from sep_launcher.planning import estimate
from sep_launcher.planning.workers import devices_of, first, jobs_of, many, workers
from sep_protocol import Output
from sep_protocol.errors import DeviceError, PathError, UsageError

GPU = Gpu(name="NVIDIA H100", driver="560", capability=9.0, memory=80 << 30)
NATIVE = Native(python="/py", source="setup", torch="2.13.0+cu130", cuda=True)
CPU = Host(system="linux", cores=16, memory=64 << 30, native=Native(python="/py", source="own"))
TWO = Host(system="linux", cores=16, memory=64 << 30, native=NATIVE, gpus=(GPU, GPU))


def made(host, text="auto", jobs=None, tracks=100, **more):
    devices = devices_of(text)
    found = workers(
        host, devices, engine="auto", jobs=jobs, tracks=tracks, precision="auto", **more
    )
    return [(each.name, each.device) for each in found]


@pytest.mark.parametrize(
    ("text", "devices"),
    [
        ("auto", ("auto",)),
        ("CUDA", ("cuda",)),
        ("cuda:0,1", ("cuda:0", "cuda:1")),
        ("cuda:0,1,3", ("cuda:0", "cuda:1", "cuda:3")),
        ("cuda:0,cuda:1", ("cuda:0", "cuda:1")),
        ("cuda:0, cpu", ("cuda:0", "cpu")),
        ("cuda:all", ("cuda:all",)),
        ("cuda:all,cpu", ("cuda:all", "cpu")),
        ("cpu,cuda:all", ("cpu", "cuda:all")),
    ],
)
def test_devices(text, devices):
    assert devices_of(text) == devices
    assert many(devices) == (len(devices) > 1 or "all" in text)
    assert first(devices) in ("auto", "cuda", "cuda:0", "cpu")


@pytest.mark.parametrize(
    "text",
    ["", "gpu", "cpu,1", "cpu,cpu", "auto,cpu", "cuda:all,cuda:0", "cuda:0,", "cpu:all", "1"],
)
def test_what_are_no_devices(text):
    with pytest.raises(UsageError):
        devices_of(text)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "all", "257", "9" * 30])
def test_what_is_no_number_of_jobs(text):
    with pytest.raises(UsageError, match="--jobs"):
        jobs_of(text)


def test_jobs_are_dealt_round_the_devices():
    assert made(TWO, "cuda:0,1", 4) == [
        ("cuda:0-1", "cuda:0"),
        ("cuda:1-1", "cuda:1"),
        ("cuda:0-2", "cuda:0"),
        ("cuda:1-2", "cuda:1"),
    ]
    assert made(TWO, "cuda:all") == [("cuda:0", "cuda:0"), ("cuda:1", "cuda:1")]
    assert made(TWO, "cuda:1,cpu") == [("cuda:1", "cuda:1"), ("cpu", "cpu")]
    assert made(CPU, jobs=2) == [("cpu-1", "auto"), ("cpu-2", "auto")]


def test_there_are_never_more_than_tracks():
    assert len(made(CPU, jobs=8, tracks=3)) == 3
    assert made(TWO, "cuda:0,1", tracks=1) == [("cuda:0", "cuda:0")]


def test_auto_is_what_cores_and_memory_hold():
    assert len(made(CPU, jobs="auto")) == 8
    small = Host(system="linux", cores=16, memory=4 << 30, native=CPU.native)
    assert len(made(small, jobs="auto")) == 4
    assert len(made(small, jobs="auto", weights=1 << 30)) == 1
    assert len(made(Host(system="linux", cores=1, native=CPU.native), jobs="auto")) == 1


def test_auto_is_two_on_each_large_gpu():
    assert [name for name, _ in made(TWO, jobs="auto")] == [
        "cuda:0-1",
        "cuda:1-1",
        "cuda:0-2",
        "cuda:1-2",
    ]
    assert len(made(TWO, "cuda:1", jobs="auto")) == 2
    assert made(TWO) == [("cuda", "auto")]
    small = replace(TWO, gpus=(replace(GPU, memory=8 << 30),))
    assert made(small, jobs="auto") == [("cuda", "auto")]


def test_threads_are_shared_and_never_none():
    def threads(host, text, jobs):
        found = workers(
            host, devices_of(text), engine="auto", jobs=jobs, tracks=99, precision="auto"
        )
        return [int(each.environment["OMP_NUM_THREADS"]) for each in found]

    assert threads(CPU, "auto", 8) == [2] * 8
    assert threads(CPU, "auto", 3) == [5] * 3
    assert threads(CPU, "auto", 32) == [1] * 32
    assert threads(TWO, "cuda:0,1", None) == [8, 8]


def test_each_worker_has_a_route_of_its_own():
    docker = Docker(endpoint="unix:///x", images=("cpu",), digests=("d",))
    host = Host(system="linux", cores=4, native=NATIVE, gpus=(GPU,), docker=docker)
    found = workers(host, ("cuda:0", "cpu"), engine="auto", jobs=None, tracks=9, precision="auto")
    assert [(each.route.engine, each.route.device) for each in found] == [
        ("native", "cuda"),
        ("container", "cpu"),
    ]


def test_what_cannot_be():
    with pytest.raises(UsageError, match="fewer than the 2 devices"):
        made(TWO, "cuda:0,1", 1)
    with pytest.raises(DeviceError, match="no GPU"):
        made(CPU, "cuda:all")
    with pytest.raises(DeviceError):
        made(CPU, "mps,cpu")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.wav", {}),
        ("a.wav", {"subtype": "FLOAT"}),
        ("a.wav", {"format": "RF64"}),
        ("a.flac", {}),
        ("a.aiff", {}),
    ],
)
@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (48000, 1), (96000, 6)])
def test_lengths_by_headers(tmp_path, name, options, rate, channels):
    soundfile.write(tmp_path / name, np.zeros((rate * 3, channels)), rate, **options)
    found = length(str(tmp_path / name))
    assert found.told
    assert (found.rate, found.channels) == (rate, channels)
    assert found.seconds == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize(
    "data", [b"", b"fLaC", b"fLaC" + bytes(60), b"RIFF1234WAVE", b"RIFF1234WAVEfmt ", b"text" * 99]
)
def test_lengths_of_what_says_none(tmp_path, data):
    (tmp_path / "a.wav").write_bytes(data)
    assert length(str(tmp_path / "a.wav")).seconds < 1


def test_lengths_of_many(tmp_path):
    paths = [str(tmp_path / f"{number}.mp3") for number in range(100)]
    for path in paths[1:]:
        Path(path).write_bytes(bytes(32000))
    found = lengths(paths, {})
    assert found[0].seconds == 0
    assert {each.seconds for each in found[1:]} == {1.0}
    assert not any(each.told for each in found)


def test_space():
    hour = [Length(seconds=3600.0, told=True)]
    wav = estimate.estimate(hour, 5, Output())
    assert wav.likely == 3600 * 44100 * 2 * 3 * 5
    assert wav.least == pytest.approx(wav.likely, rel=0.06)
    flac = estimate.estimate(hour, 5, Output(format="flac"))
    assert flac.least < flac.likely < wav.likely
    mp3 = estimate.estimate(hour, 5, Output(format="mp3"))
    assert mp3.likely == 3600 * 40000 * 5
    guessed = estimate.estimate([Length(seconds=3600.0)], 5, Output())
    assert guessed.least == 0
    assert guessed.likely == wav.likely


def test_a_disk_that_is_too_small():
    found = estimate.Estimate(least=10 << 30, likely=20 << 30)
    with pytest.raises(PathError, match=r"10\.7 GB at least, and /out has 9\.7 GB free"):
        estimate.check(found, 9 << 30, "/out", Output())
    assert "may need 21.5 GB" in estimate.check(found, 15 << 30, "/out", Output())
    assert not estimate.check(found, 30 << 30, "/out", Output())
