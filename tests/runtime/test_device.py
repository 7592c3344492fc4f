"""The device: MPS, then CUDA, then CPU; a named one is kept. MPS and CUDA are fixtures here."""

import pytest
import torch

from sep_protocol.errors import DeviceError, MemoryLimitError, UsageError
from sep_runtime import device


def test_cpu_is_what_this_machine_has():
    choice = device.choose("auto")
    assert choice.device.type in ("cpu", "cuda", "mps")
    assert device.choose("cpu").name


@pytest.mark.parametrize(
    "wanted",
    ["gpu", "cuda:", "cuda:a", "cpu:0", "", "mps:1", "CUDA", "cuda:00", "cuda:200", "cuda:\u0663"],
)
def test_unknown_devices(wanted):
    with pytest.raises(UsageError):
        device.choose(wanted)


def test_a_named_device_whose_memory_is_full_is_told_as_that(monkeypatch):
    def smoke(where):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")

    pretend(monkeypatch, cuda=True)
    monkeypatch.setattr(device, "smoke", smoke)
    with pytest.raises(MemoryLimitError, match="CUDA out of memory"):
        device.choose("cuda")
    choice = device.choose("auto")
    assert choice.device.type == "cpu"
    assert "out of memory" in choice.failures[0]


def pretend(monkeypatch, *, mps=False, cuda=False, broken=()):
    """Facts of hardware that is not here: what torch says of it, and which smoke fails."""

    def smoke(where):
        if where.type in broken:
            raise NotImplementedError(f"no kernel on {where.type}")

    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "A GPU")
    monkeypatch.setattr(device, "smoke", smoke)


@pytest.mark.parametrize(
    ("facts", "wanted", "chosen", "failures"),
    [
        ({}, "auto", "cpu", 0),
        ({"mps": True}, "auto", "mps", 0),
        ({"cuda": True}, "auto", "cuda", 0),
        ({"mps": True, "cuda": True}, "auto", "mps", 0),
        ({"mps": True, "broken": ("mps",)}, "auto", "cpu", 1),
        ({"mps": True, "cuda": True, "broken": ("mps",)}, "auto", "cuda", 1),
        ({"cuda": True}, "cuda:1", "cuda:1", 0),
        ({"cuda": True}, "cpu", "cpu", 0),
    ],
)
def test_order(monkeypatch, facts, wanted, chosen, failures):
    pretend(monkeypatch, **facts)
    choice = device.choose(wanted)
    assert str(choice.device) == chosen
    assert len(choice.failures) == failures
    assert all("no kernel" in failure for failure in choice.failures)


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        ({}, "cuda"),
        ({}, "mps"),
        ({"cuda": True}, "cuda:2"),
        ({"cuda": True, "broken": ("cuda",)}, "cuda"),
        ({"mps": True, "broken": ("mps",)}, "mps"),
    ],
)
def test_a_named_device_is_never_replaced(monkeypatch, facts, wanted):
    pretend(monkeypatch, **facts)
    with pytest.raises(DeviceError, match=wanted):
        device.choose(wanted)


def test_smoke_passes_where_the_device_works():
    device.smoke(torch.device("cpu"))


def test_smoke_notices_wrong_results(monkeypatch):
    monkeypatch.setattr(torch.fft, "irfft", lambda x: torch.zeros(x.shape))
    with pytest.raises(RuntimeError, match="wrong result"):
        device.smoke(torch.device("cpu"))
