"""The golden clip through a Python of this host: what an environment really can do."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import sep_models
from sep_launcher.engines.native import NativeEngine
from sep_launcher.machine import facts
from sep_launcher.planning import plan as plans
from sep_launcher.planning import route
from sep_launcher.planning.naming import Found
from sep_launcher.planning.request import Request
from sep_protocol import DeviceChosen, Failed, Model, Output, TrackDone, TrackFailed
from sep_protocol.errors import DeviceError, RuntimeFailedError, SepError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sep_launcher.engines import Engine
    from sep_launcher.machine.host import Host, Native

BUNDLED = "mdx23c-mini"


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """The clip was separated."""

    device: DeviceChosen
    seconds: float  # of the whole run


def check(host: Host, native: Native, log: Callable[[str], None]) -> tuple[facts.Check, Passed]:
    """Separate the clip on the best device that works; return what to record, and the run.

    Raises the SepError of the CPU where not even that works.
    """
    passed, cuda, mps = None, None, None
    if host.apple_gpu:
        passed = _tried(host, native, "mps", log)
        mps = passed is not None
    elif host.gpus:
        passed = _tried(host, native, "cuda", log)
        cuda = passed is not None
    if passed is None:
        passed = separate(host, native, "cpu", log)
    machine = facts.fingerprint(host.system, host.version, host.gpus)
    torch = passed.device.torch
    return (
        facts.Check(python=native.python, machine=machine, torch=torch, cuda=cuda, mps=mps),
        passed,
    )


def _tried(host: Host, native: Native, device: str, log: Callable[[str], None]) -> Passed | None:
    try:
        return separate(host, native, device, log)
    except (DeviceError, RuntimeFailedError) as fault:
        log(f"{device} cannot be used: {fault.message}")
        return None


def separate(host: Host, native: Native, device: str, log: Callable[[str], None]) -> Passed:
    """Separate the clip on this device and no other, into a folder that is gone afterwards."""
    here = replace(host, native=native)
    chosen = route.Route(engine="native", device="cpu", reason="a check", ready=True)
    return separated(here, chosen, device, NativeEngine(log))


def separated(
    host: Host, chosen: route.Route, device: str, engine: Engine, keep: Path | None = None
) -> Passed:
    """Separate the clip by an engine, into a folder that is gone afterwards, or into `keep`.

    Raises the SepError that ended the run.
    """
    with tempfile.TemporaryDirectory(prefix="sep-check-") as folder:
        request = Request(
            files=(),
            out=keep or Path(folder),
            output=Output(bit_depth="float"),
            wanted=route.Wanted(device=device),
            fallback=False,
        )
        clip = Found(path=sep_models.golden_clip(), name=PurePath("golden"))
        model = Model(name=BUNDLED)
        plan = plans.plan(request, host, chosen, found=[clip], model=model, manifest=None)
        begun = time.perf_counter()
        used, done = follow(plan, engine)
        if used is None or not done:
            raise RuntimeFailedError("the runtime ended without separating the golden clip")
        return Passed(device=used, seconds=time.perf_counter() - begun)


def follow(plan: plans.Plan, engine: Engine) -> tuple[DeviceChosen | None, int]:
    """Run a plan without showing it; return the device used and how many tracks were done.

    Raises the SepError that ended it, or that of the first track that failed.
    """
    device = None
    done = 0
    try:
        for event in engine.start(plan):
            match event:
                case DeviceChosen():
                    device = event
                case TrackDone():
                    done += 1
                case TrackFailed(message=message, hint=hint, path=path):
                    told = f"the golden clip failed: {message}"
                    raise RuntimeFailedError(told, hint=hint, path=path)
                case Failed():
                    known = {each.__name__: each for each in SepError.__subclasses__()}
                    raised = known.get(event.error, RuntimeFailedError)
                    raise raised(event.message, hint=event.hint, path=event.path)
                case _:
                    pass
    finally:
        engine.stop()
    return device, done
