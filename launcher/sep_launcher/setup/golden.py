"""The golden clip through an environment or an image: what it really can do, and how exactly."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import sep_models
from sep_launcher.engines.native import NativeEngine
from sep_launcher.machine import facts
from sep_launcher.machine.host import Snr
from sep_launcher.planning import choice, precisions, route
from sep_launcher.planning import plan as plans
from sep_launcher.planning.naming import Found
from sep_launcher.planning.precisions import PLAIN
from sep_launcher.planning.request import Request
from sep_launcher.planning.route import Kind
from sep_launcher.setup import compare
from sep_protocol import DeviceChosen, Failed, Model, Output, Precision, TrackDone, TrackFailed
from sep_protocol.errors import DeviceError, RuntimeFailedError, SepError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sep_launcher.engines import Engine
    from sep_launcher.machine.host import Host, Native

BUNDLED = "mdx23c-mini"
CLIP = "golden"  # what its stems' folder is called


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """The clip was separated."""

    device: DeviceChosen
    seconds: float  # of the whole run


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the clip showed."""

    passed: Passed  # on the GPU in fp32 where that works, else on the CPU
    works: bool | None = None  # whether the GPU does; None: there is none
    snr: tuple[Snr, ...] = ()  # of the GPU in each of its precisions


Tell = Callable[[Kind, SepError], None]
Run = Callable[[Kind, Precision, Path], Passed]  # its stems go below the folder


def check(host: Host, native: Native, log: Callable[[str], None]) -> tuple[facts.Check, Passed]:
    """Separate the clip on the GPU and the CPU; return what to record, and the best run.

    Raises the SepError of the CPU where not even that works.
    """
    here = replace(host, native=native)
    chosen = route.Route(engine="native", device="cpu", reason="a check", ready=True)

    def run(device: Kind, precision: Precision, folder: Path) -> Passed:
        return separated(
            here, chosen, device, NativeEngine(log), precision=precision, folder=folder
        )

    gpu: Kind | None = "mps" if host.apple_gpu else "cuda" if host.gpus else None
    found = measured(gpu, run, lambda what, fault: log(f"{what} cannot be used: {fault.message}"))
    record = facts.Check(
        python=native.python,
        machine=facts.fingerprint(host.system, host.version, host.gpus),
        torch=found.passed.device.torch,
        cuda=found.works if gpu == "cuda" else None,
        mps=found.works if gpu == "mps" else None,
        snr=found.snr,
    )
    return record, found.passed


def measured(gpu: Kind | None, run: Run, tell: Tell) -> Measured:
    """Separate the clip on a GPU in each of its precisions, and on the CPU to compare with.

    `tell` hears why a device does not work. Without one the clip is separated once, on the CPU.
    Raises the SepError of the CPU where nothing works.
    """
    with tempfile.TemporaryDirectory(prefix="sep-check-") as folder:
        place = Path(folder)
        first = _first(gpu, run, place / "gpu", tell) if gpu else None
        try:
            plain = run("cpu", PLAIN, place / "cpu")
        except SepError as fault:
            if first is None:
                raise
            tell("cpu", fault)
            return Measured(passed=first, works=True)
        if gpu is None or first is None:
            return Measured(passed=plain, works=None if gpu is None else False)
        exact = _exact(gpu, place, tell)
        snr = [Snr(device=gpu, precision=PLAIN, decibels=exact)]
        if not precisions.passes(exact):
            return Measured(passed=plain, works=False, snr=tuple(snr))
        for precision in precisions.LOWER[gpu]:
            try:
                run(gpu, precision, place / precision)
                found = beside(place / "cpu", place / precision)
            except RuntimeFailedError:
                found = None
            except SepError:  # it is not there; or memory is short, which says nothing of it
                continue
            snr.append(Snr(device=gpu, precision=precision, decibels=found))
        return Measured(passed=first, works=True, snr=tuple(snr))


def told(found: tuple[Snr, ...]) -> Iterator[str]:
    """Yield a line about each precision."""
    for each in found:
        close = "fails" if each.decibels is None else f"{each.decibels:.0f} dB beside the CPU"
        fine = "" if precisions.passes(each.decibels) else ", not good enough"
        yield f"{each.device} in {each.precision}: {close}{fine}"


def beside(reference: Path, folder: Path) -> float:
    """Return how close the clip's stems are to others, in dB of the worst one.

    Raises RuntimeFailedError where there is nothing to compare.
    """
    try:
        return compare.worst(reference / CLIP, folder / CLIP)
    except (OSError, ValueError) as fault:
        raise RuntimeFailedError(f"its stems cannot be compared: {fault}") from fault


def _exact(gpu: Kind, place: Path, tell: Tell) -> float | None:
    try:
        found = beside(place / "cpu", place / "gpu")
    except RuntimeFailedError as fault:
        tell(gpu, fault)
        return None
    if not precisions.passes(found):
        tell(gpu, DeviceError(f"its stems are not the CPU's: {found:.0f} dB beside them"))
    return found


def _first(gpu: Kind, run: Run, folder: Path, tell: Tell) -> Passed | None:
    try:
        return run(gpu, PLAIN, folder)
    except (DeviceError, RuntimeFailedError) as fault:
        tell(gpu, fault)
        return None


def separated(
    host: Host,
    chosen: route.Route,
    device: str,
    engine: Engine,
    *,
    precision: Precision,
    folder: Path,
) -> Passed:
    """Separate the clip by an engine on this device and no other; its stems go below the folder.

    Raises the SepError that ended the run.
    """
    request = Request(
        files=(),
        out=folder,
        output=Output(bit_depth="float"),
        wanted=route.Wanted(device=device),
        fallback=False,
        precision=precision,
    )
    clip = Found(path=sep_models.golden_clip(), name=PurePath(CLIP))
    model = Model(name=BUNDLED)
    plan = plans.plan(request, host, chosen, found=[clip], chosen=choice.only(model))
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
