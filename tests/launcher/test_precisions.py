"""Which precision a Job asks for: a table of what was named and what is known."""

import pytest

from sep_launcher.machine.host import Docker, Gpu, Host, Native, Snr
from sep_launcher.planning.precisions import passes, resolved
from sep_launcher.planning.route import Route

GPU = Gpu(name="RTX 3080", driver="580.1", capability=8.6, memory=10 << 30)
EXACT = Snr(device="cuda", precision="fp32", decibels=92.0)
GOOD = Snr(device="cuda", precision="fp16", decibels=58.0)
BAD = Snr(device="cuda", precision="fp16", decibels=39.9)
FAILED = Snr(device="cuda", precision="fp16")
WRONG = Snr(device="cuda", precision="fp32", decibels=3.0)


def host(native=(), contained=()):
    return Host(
        system="linux",
        gpus=(GPU,),
        native=Native(python="/py", source="setup", snr=native),
        docker=Docker(endpoint="unix:///x", images=("cuda",), digests=("sha256:1",), snr=contained),
    )


def way(engine="native", device="cuda"):
    return Route(engine=engine, device=device, reason="x", ready=True)


@pytest.mark.parametrize(
    ("wanted", "known", "route", "asked"),
    [
        ("auto", host(), way(), "auto"),
        ("auto", host((EXACT, GOOD)), way(), "auto"),
        ("auto", host((EXACT, BAD)), way(), "fp32"),
        ("auto", host((EXACT, FAILED)), way(), "fp32"),
        ("auto", host((WRONG,)), way(), "auto"),  # the route is another one then
        ("auto", host((BAD,)), way(device="cpu"), "auto"),
        ("auto", host((BAD,)), way("container"), "auto"),
        ("auto", host((GOOD,), (BAD,)), way("container"), "fp32"),
        ("auto", Host(system="linux"), way(), "auto"),
        ("fp16", host((BAD,)), way(), "fp16"),
        ("fp32", host((GOOD,)), way(), "fp32"),
    ],
)
def test_what_a_job_asks_for(wanted, known, route, asked):
    assert resolved(wanted, known, route) == asked


@pytest.mark.parametrize(("decibels", "fine"), [(None, False), (39.99, False), (40.0, True)])
def test_what_passes(decibels, fine):
    assert passes(decibels) is fine
