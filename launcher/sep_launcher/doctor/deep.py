"""`sep doctor --deep`: the golden clip on every way that is set up, beside the CPU's result."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sep_launcher.doctor.evidence import Tried
from sep_launcher.engines.native import NativeEngine
from sep_launcher.machine import facts
from sep_launcher.machine.host import Snr
from sep_launcher.planning import precisions
from sep_launcher.planning.precisions import PLAIN
from sep_launcher.planning.route import Route
from sep_launcher.setup import golden
from sep_protocol.errors import (
    DeviceError,
    PathError,
    RuntimeFailedError,
    SepError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sep_launcher.engines import Engine
    from sep_launcher.machine.host import Host
    from sep_launcher.planning.route import Engine as EngineName
    from sep_launcher.planning.route import Kind


def ways(host: Host) -> list[tuple[EngineName, Kind]]:
    """Return every way that is set up, the CPU first, for the others are compared with it."""
    found: list[tuple[EngineName, Kind]] = []
    if host.native:
        found.append(("native", "cpu"))
        found += [("native", "mps")] if host.apple_gpu else []
        found += [("native", "cuda")] if host.gpus else []
    docker = host.docker
    if docker and docker.images and not docker.fault and not docker.remote:
        found.append(("container", "cpu"))
        found += [("container", "cuda")] if host.gpus and "cuda" in docker.images else []
    return found


def try_all(host: Host, log: Callable[[str], None]) -> Iterator[Tried]:
    """Yield how each way did in each precision; what is known afterwards is recorded for runs."""
    with tempfile.TemporaryDirectory(prefix="sep-deep-") as folder:
        reference: Path | None = None
        for engine, device in ways(host):
            for precision in (PLAIN, *precisions.LOWER[device]):
                if precision != PLAIN and reference is None:
                    break  # there is nothing to compare with
                way = Tried(engine=engine, device=device, precision=precision)
                here = Path(folder, f"{engine}-{device}-{precision}")
                tried = _tried(host, way, here, reference, log)
                yield tried
                wrong = tried.snr is not None and tried.snr < precisions.ENOUGH
                if precision == PLAIN and (tried.fault or wrong):
                    break  # a lower precision is no better
                if reference is None and device == "cpu":
                    reference = here


def _tried(
    host: Host, way: Tried, folder: Path, reference: Path | None, log: Callable[[str], None]
) -> Tried:
    """Separate the clip on a way, compare it with the reference, and note what that says."""
    chosen = Route(engine=way.engine, device=way.device, reason="a check", ready=True)
    lower = way.precision != PLAIN
    try:
        # In the image for CUDA the CPU has to be named, or it would take the GPU.
        passed = golden.separated(
            host,
            chosen,
            way.device,
            _engine(way.engine, log),
            precision=way.precision,
            folder=folder,
        )
        snr = golden.beside(reference, folder) if reference else None
    except SepError as fault:
        if lower and isinstance(fault, DeviceError | UsageError):
            return replace(way, refused=fault.message)
        # Memory that was short, or a daemon that went away, says nothing of the device.
        if isinstance(fault, DeviceError | RuntimeFailedError):
            _record(host, way, works=False)
        return replace(way, fault=fault.message)
    name = f"{passed.device.name}, torch {passed.device.torch}"
    tried = replace(way, seconds=passed.seconds, name=name, snr=snr)
    _record(host, tried, works=snr is None or precisions.passes(snr))
    return tried


def _engine(name: EngineName, log: Callable[[str], None]) -> Engine:
    if name == "native":
        return NativeEngine(log)
    from sep_launcher.engines.docker.container import ContainerEngine  # noqa: PLC0415 (docker-py is slow)

    return ContainerEngine(log)


def _record(host: Host, tried: Tried, *, works: bool) -> None:
    """Note what was found, as setup does, where the home can be written."""
    if tried.device == "cpu" and (tried.precision == PLAIN or tried.engine == "container"):
        return  # it always works, and nobody asks how exactly a container's CPU does
    machine = facts.fingerprint(host.system, host.version, host.gpus)
    known = facts.read()
    key = host.native.python if host.native and tried.engine == "native" else _digest(host)
    before = known.check_of(key, machine)
    check = before or facts.Check(python=key, machine=machine, torch=tried.name)
    if tried.precision == PLAIN:
        check = replace(check, mps=works) if tried.device == "mps" else replace(check, cuda=works)
    if tried.precision != PLAIN or tried.snr is not None:
        found = Snr(device=tried.device, precision=tried.precision, decibels=tried.snr)
        check = check.with_snr(found)
    try:
        facts.write(known.with_check(check))
    except PathError:
        return


def _digest(host: Host) -> str:
    docker = host.docker
    return docker.digests[docker.images.index("cuda")] if docker else ""
