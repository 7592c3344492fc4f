"""The matrix that a person with the machine runs: device, quality beside the CPU, speed.

    pytest tests/e2e/test_cross_platform.py -s

It uses sep as it is set up for you. Ways that this machine has not are skipped and say why; those
that it has must pass. What it prints is what `docs/platforms.md` asks for.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sep_launcher.planning.precisions import ENOUGH
from sep_launcher.setup import compare

ROOT = Path(__file__).parents[2]
CLIP = ROOT / "models" / "sep_models" / "golden.flac"
WAYS = [
    ("native", "cpu"),
    ("native", "mps"),
    ("native", "cuda"),
    ("container", "cpu"),
    ("container", "cuda"),
]
EXACT = 60.0  # dB: what rounding explains
SECONDS = 51.7  # of audio, as the targets are stated


def sep(*arguments):
    """Run the real command with this user's own settings; returns its document and exit code."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sep_launcher", *map(str, arguments), "--json"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout), done.returncode


@pytest.fixture(scope="module")
def examined():
    return sep("doctor")[0]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The clip's stems by the native CPU."""
    folder = tmp_path_factory.mktemp("cpu")
    options = ("--engine", "native", "--device", "cpu", "--bit-depth", "float")
    document, code = sep("run", CLIP, "-o", folder, *options)
    assert code == 0, document["error"]
    return folder / "golden"


@pytest.fixture(params=WAYS, ids="-".join)
def way(request, examined):
    """A way that this machine has."""
    engine, device = request.param
    host = examined["host"]
    docker = host["docker"] or {}
    apple = host["system"] == "macos" and host["arm"]
    missing = {
        "mps": not apple and "no Apple GPU here",
        "cuda": not host["gpus"] and "no NVIDIA GPU here",
        "cpu": False,
    }[device]
    if engine == "container" and device not in docker.get("images", ()):
        missing = missing or f"no image for {device} here"
    if engine == "native" and not host["native"]:
        missing = "no native environment here"
    if missing:
        pytest.skip(missing)
    return request.param


def options(way, device=None):
    return ("--engine", way[0], "--device", device or way[1])


@pytest.mark.parametrize(("precision", "least"), [("fp32", EXACT), ("auto", ENOUGH)])
def test_the_device_that_was_named_is_used_and_right(way, reference, tmp_path, precision, least):
    how = ("--bit-depth", "float", "--precision", precision)
    document, code = sep("run", CLIP, "-o", tmp_path, *options(way), *how)
    assert code == 0, document["error"]
    assert document["device"]["device"].partition(":")[0] == way[1]
    assert document["fallbacks"] == []
    worst = compare.worst(reference, tmp_path / "golden")
    real = document["device"]["precision"]
    told = f"{worst:.0f} dB beside the CPU ({document['device']['name']})"
    print(f"\n{way[0]} {way[1]} {real}: {told}")
    assert worst >= least


def test_speed(way):
    """A measurement, not a judgement: on the CPU a shorter one."""
    seconds = "5" if way[1] == "cpu" else str(SECONDS)
    document, code = sep("bench", *options(way), "--seconds", seconds, "--runs", "1", "--no-snr")
    assert code == 0, document["error"]
    measured = document["rows"][0]["bench"]["measured"][0]
    took = SECONDS / measured["real_time"]
    print(
        f"\n{way[0]} {way[1]}: {measured['real_time']:.1f}x real time, {took:.0f} s for {SECONDS} s"
    )
    assert measured["real_time"] > 0


def test_the_best_device_is_chosen_by_itself(examined, tmp_path):
    host = examined["host"]
    document, code = sep("run", CLIP, "-o", tmp_path)
    if code == 12 and "is set up" in document["error"]["message"]:
        pytest.skip("the way that runs would take is not set up: sep setup")
    assert code == 0, document["error"]
    best = "mps" if host["system"] == "macos" and host["arm"] else "cuda" if host["gpus"] else "cpu"
    print(f"\nchosen: {document['route']['engine']} {document['device']['device']}")
    if best != document["device"]["device"].partition(":")[0]:
        why = (
            document["fallbacks"] or document["warnings"] or "faster" in document["route"]["reason"]
        )
        assert why, "another device than the best, and nobody said so"


def test_doctor_finds_no_error(examined):
    errors = [each["id"] for each in examined["findings"] if each["severity"] == "error"]
    assert errors == []


def test_a_device_that_is_not_here_is_refused_and_never_replaced(examined, tmp_path):
    host = examined["host"]
    absent = "mps" if not (host["system"] == "macos" and host["arm"]) else "cuda"
    if absent == "cuda" and "CUDA_VISIBLE_DEVICES" in os.environ:
        pytest.skip("CUDA_VISIBLE_DEVICES is set")
    document, code = sep("run", CLIP, "-o", tmp_path, "--device", absent)
    assert code == 13
    assert document["error"]["error"] == "DeviceError"
    assert not list(tmp_path.iterdir())
