"""What `sep doctor --deep` remembers of a GPU; the GPU is a fixture, the record a real file."""

import pytest

from sep_launcher.doctor import compare, deep
from sep_launcher.machine import facts
from sep_launcher.machine.host import Gpu, Host, Native
from sep_launcher.setup.golden import Passed
from sep_protocol import DeviceChosen
from sep_protocol.errors import DeviceError, MemoryLimitError

GPU = Gpu(name="RTX 3080", driver="580.1", capability=8.6, memory=10 << 30)
HOST = Host(system="linux", gpus=(GPU,), native=Native(python="/py", source="setup"))


@pytest.mark.parametrize(
    ("fault", "snr", "noted"),
    [
        (None, 72.0, True),
        (None, 20.0, False),  # it runs and is wrong: no way to take
        (DeviceError("no kernel"), None, False),
        (MemoryLimitError("out of memory"), None, None),  # says nothing of the GPU
    ],
)
def test_what_is_noted_of_a_gpu(home, monkeypatch, fault, snr, noted):
    def separated(host, chosen, device, engine, keep):
        if device == "cuda" and fault:
            raise fault
        used = DeviceChosen(requested=device, device=device, name="x", reason="x", torch="2.13.0")
        return Passed(device=used, seconds=1.0)

    monkeypatch.setattr(deep.golden, "separated", separated)
    monkeypatch.setattr(compare, "worst", lambda *_: snr)
    tried = list(deep.try_all(HOST, print))
    assert [each.device for each in tried] == ["cpu", "cuda"]
    assert tried[1].snr == snr
    check = facts.read().check_of("/py", facts.fingerprint("linux", "", (GPU,)))
    assert (check.cuda if check else None) is noted
