"""The golden clip on a GPU in each precision: what setup and `sep doctor --deep` find and note.

The GPU is a fixture that writes stems as close to the CPU's as a case says; stems, what compares
them and the record are real.
"""

import math
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from sep_launcher.doctor import deep
from sep_launcher.engines import GpuRefusedError
from sep_launcher.machine import facts
from sep_launcher.machine.host import Docker, Gpu, Host, Native
from sep_launcher.setup import golden, image, native
from sep_launcher.show.render import Style, Terminal
from sep_protocol import DeviceChosen
from sep_protocol.errors import (
    DeviceError,
    MemoryLimitError,
    RuntimeFailedError,
    SepError,
    UsageError,
)

GPU = Gpu(name="RTX 3080", driver="580.1", capability=8.6, memory=10 << 30)
HOST = Host(system="linux", gpus=(GPU,), native=Native(python="/py", source="setup"))
PLAIN = replace(HOST, gpus=())
MAC = Host(system="macos", arm=True, native=HOST.native)
IMAGES = Docker(endpoint="unix:///x", images=("cpu", "cuda"), digests=("sha256:1", "sha256:2"))
BROKEN = RuntimeFailedError("the runtime was ended by signal 11")
MEMORY = MemoryLimitError("out of memory")
NO_HALF = UsageError("this processor has no bf16")


@dataclass
class Machine:
    """What each device does in each precision: dB beside the CPU, or how it fails."""

    does: dict[tuple[str, str], float | SepError]
    runs: list[tuple[str, str, str]]

    def separated(self, host, chosen, device, engine, *, precision, folder):
        self.runs.append((chosen.engine, device, precision))
        did = self.does.get((device, precision), NO_HALF)
        if isinstance(did, SepError):
            raise did
        _write(folder / golden.CLIP / "kick.wav", did)
        used = DeviceChosen(requested=device, device=device, name="x", reason="x", torch="2.13.0")
        return golden.Passed(device=used, seconds=1.0)


def _write(path, decibels):
    random = np.random.default_rng(0)
    true, noise = random.standard_normal((2, 4000, 2)).astype(np.float32)
    close = 0.0 if decibels == math.inf else 10 ** (-decibels / 20)
    path.parent.mkdir(parents=True)
    soundfile.write(path, true + close * noise, 44100, "FLOAT")


@pytest.fixture
def machine(home, monkeypatch):
    """Make a machine; the CPU is the reference."""

    def make(**does):
        named = {tuple(name.split("_")): did for name, did in does.items()}
        made = Machine({("cpu", "fp32"): math.inf, **named}, [])
        monkeypatch.setattr(golden, "separated", made.separated)
        return made

    return make


def noted(host=HOST, key="/py"):
    return facts.read().check_of(key, facts.fingerprint(host.system, host.version, host.gpus))


def rounded(found):
    return {
        f"{each.device}_{each.precision}": each.decibels and round(each.decibels) for each in found
    }


@pytest.mark.parametrize(
    ("does", "works", "snr"),
    [
        ({"cuda_fp32": 90, "cuda_fp16": 58}, True, {"cuda_fp32": 90, "cuda_fp16": 58}),
        ({"cuda_fp32": 90, "cuda_fp16": 20}, True, {"cuda_fp32": 90, "cuda_fp16": 20}),
        ({"cuda_fp32": 90, "cuda_fp16": BROKEN}, True, {"cuda_fp32": 90, "cuda_fp16": None}),
        ({"cuda_fp32": 90, "cuda_fp16": NO_HALF}, True, {"cuda_fp32": 90}),
        ({"cuda_fp32": 90, "cuda_fp16": MEMORY}, True, {"cuda_fp32": 90}),
        ({"cuda_fp32": 20, "cuda_fp16": 20}, False, {"cuda_fp32": 20}),  # it runs and is wrong
        ({"cuda_fp32": DeviceError("no kernel")}, False, {}),
    ],
)
def test_what_setup_finds_and_notes_of_a_gpu(machine, capsys, does, works, snr):
    machine(**does)
    native.check_and_record(HOST, HOST.native, Terminal(Style()))
    told = capsys.readouterr().err
    check = noted()
    assert (check.cuda, check.mps, rounded(check.snr)) == (works, None, snr)
    assert f"works: 1.0 s on {'cuda' if works else 'cpu'} " in told
    assert ("cannot be used" in told) == (not works)
    for name, close in snr.items():
        device, precision = name.split("_")
        line = "fails" if close is None else f"{close} dB beside the CPU"
        fine = close is not None and close >= 40
        assert f"  {device} in {precision}: {line}{'' if fine else ', not good enough'}\n" in told


@pytest.mark.parametrize(
    ("does", "works", "snr"),
    [
        ({"cuda_fp32": 90, "cuda_fp16": 20}, True, {"cuda_fp32": 90, "cuda_fp16": 20}),
        ({"cuda_fp32": GpuRefusedError("no toolkit", hint="install it")}, False, {}),
    ],
)
def test_what_setup_finds_and_notes_of_an_image(machine, capsys, does, works, snr):
    made = machine(**does)
    screen = Terminal(Style())
    image._check(HOST, SimpleNamespace(id="sha256:2"), SimpleNamespace(variant="cuda"), screen)
    told = capsys.readouterr().err
    check = noted(key="sha256:2")
    assert (check.cuda, rounded(check.snr)) == (works, snr)
    assert ("no toolkit" in told) == ("runs take another way" in told) == (not works)
    assert {each[0] for each in made.runs} == {"container"}


def test_setup_of_a_mac(machine):
    machine(mps_fp32=80, mps_fp16=50)
    check, passed = golden.check(MAC, MAC.native, print)
    assert (check.cuda, check.mps, passed.device.device) == (None, True, "mps")
    assert rounded(check.snr) == {"mps_fp32": 80, "mps_fp16": 50}


def test_setup_without_a_gpu_separates_the_clip_once(machine):
    made = machine(cpu_bf16=38)
    check, _ = golden.check(PLAIN, PLAIN.native, print)
    assert made.runs == [("native", "cpu", "fp32")]
    assert (check.cuda, check.snr) == (None, ())


def test_a_cpu_that_cannot_be_compared_with_leaves_the_gpu_as_it_was(machine):
    machine(cpu_fp32=MEMORY, cuda_fp32=90, cuda_fp16=58)
    check, passed = golden.check(HOST, HOST.native, print)
    assert (check.cuda, check.snr, passed.device.device) == (True, (), "cuda")
    machine(cpu_fp32=MEMORY, cuda_fp32=BROKEN)
    with pytest.raises(MemoryLimitError):
        golden.check(HOST, HOST.native, print)


@pytest.mark.parametrize(
    ("does", "tried", "works", "snr"),
    [
        (
            {"cuda_fp32": 72, "cuda_fp16": 58, "cpu_bf16": 45},
            {"cpu_fp32": None, "cpu_bf16": 45, "cuda_fp32": 72, "cuda_fp16": 58},
            True,
            {"cpu_bf16": 45, "cuda_fp32": 72, "cuda_fp16": 58},
        ),
        (
            {"cuda_fp32": 72, "cuda_fp16": BROKEN},
            {"cpu_fp32": None, "cpu_bf16": None, "cuda_fp32": 72, "cuda_fp16": None},
            True,
            {"cuda_fp32": 72, "cuda_fp16": None},
        ),
        (
            {"cuda_fp32": 20, "cuda_fp16": 20},  # it runs and is wrong: no way to take
            {"cpu_fp32": None, "cpu_bf16": None, "cuda_fp32": 20},
            False,
            {"cuda_fp32": 20},
        ),
        (
            {"cuda_fp32": DeviceError("no kernel")},
            {"cpu_fp32": None, "cpu_bf16": None, "cuda_fp32": None},
            False,
            {},
        ),
        (
            {"cuda_fp32": MEMORY},  # says nothing of the GPU
            {"cpu_fp32": None, "cpu_bf16": None, "cuda_fp32": None},
            None,
            None,
        ),
        (
            {"cpu_fp32": MEMORY, "cuda_fp32": 72, "cuda_fp16": 58},  # nothing to compare with
            {"cpu_fp32": None, "cuda_fp32": None},
            True,
            {},
        ),
    ],
)
def test_what_deep_finds_and_notes_of_a_gpu(machine, does, tried, works, snr):
    machine(**does)
    found = list(deep.try_all(HOST, print))
    assert {
        f"{each.device}_{each.precision}": each.snr and round(each.snr) for each in found
    } == tried
    check = noted()
    assert (check.cuda if check else None) is works
    assert (rounded(check.snr) if check else None) == snr
    for each in found:
        did = does.get(f"{each.device}_{each.precision}")
        lower = each.precision != "fp32"
        assert bool(each.refused) == (lower and did is None)
        assert bool(each.fault) == isinstance(did, SepError)


def test_deep_tries_containers_in_every_precision_too(machine):
    made = machine(cuda_fp32=72, cuda_fp16=30, cpu_bf16=45)
    host = replace(HOST, docker=IMAGES)
    assert len(list(deep.try_all(host, print))) == len(made.runs) == 8
    check = noted(key="sha256:2")
    assert (check.cuda, rounded(check.snr)) == (True, {"cuda_fp32": 72, "cuda_fp16": 30})
    assert noted(key="sha256:1") is None
