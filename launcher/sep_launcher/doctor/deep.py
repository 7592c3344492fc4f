"""`sep doctor --deep`: the golden clip on every way that is set up, beside the CPU's result."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sep_launcher.doctor import compare
from sep_launcher.doctor.device_rules import ENOUGH
from sep_launcher.doctor.evidence import Tried
from sep_launcher.engines.native import NativeEngine
from sep_launcher.machine import facts
from sep_launcher.planning.route import Route
from sep_launcher.setup import golden
from sep_protocol.errors import DeviceError, PathError, RuntimeFailedError, SepError

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
    """Yield how each way did; what is known of GPUs afterwards is recorded for the routes."""
    with tempfile.TemporaryDirectory(prefix="sep-deep-") as folder:
        reference: Path | None = None
        for engine, device in ways(host):
            here = Path(folder, f"{engine}-{device}")
            tried = _tried(host, engine, device, here, log)
            if not tried.fault:
                if reference is not None:
                    tried = _compared(tried, reference, here)
                elif device == "cpu":
                    reference = here / "golden"
                if tried.device != "cpu" and not tried.fault:
                    _record(host, tried, works=tried.snr is None or tried.snr >= ENOUGH)
            yield tried


def _tried(
    host: Host, engine: EngineName, device: Kind, folder: Path, log: Callable[[str], None]
) -> Tried:
    chosen = Route(engine=engine, device=device, reason="a check", ready=True)
    # In the image for CUDA the CPU has to be named, or it would take the GPU.
    try:
        passed = golden.separated(host, chosen, device, _engine(engine, log), keep=folder)
    except SepError as fault:
        tried = Tried(engine=engine, device=device, fault=fault.message)
        # Memory that was short, or a daemon that went away, says nothing of the GPU.
        if device != "cpu" and isinstance(fault, DeviceError | RuntimeFailedError):
            _record(host, tried, works=False)
        return tried
    name = f"{passed.device.name}, torch {passed.device.torch}"
    return Tried(engine=engine, device=device, seconds=passed.seconds, name=name)


def _engine(name: EngineName, log: Callable[[str], None]) -> Engine:
    if name == "native":
        return NativeEngine(log)
    from sep_launcher.engines.docker.container import ContainerEngine  # noqa: PLC0415 (docker-py is slow)

    return ContainerEngine(log)


def _compared(tried: Tried, reference: Path, folder: Path) -> Tried:
    try:
        return replace(tried, snr=compare.worst(reference, folder / "golden"))
    except (OSError, ValueError) as fault:
        return replace(tried, fault=f"its stems cannot be compared: {fault}")


def _record(host: Host, tried: Tried, *, works: bool) -> None:
    """Note whether a GPU works there, as setup does, where the home can be written."""
    machine = facts.fingerprint(host.system, host.version, host.gpus)
    known = facts.read()
    key = host.native.python if host.native and tried.engine == "native" else _digest(host)
    before = known.check_of(key, machine)
    check = before or facts.Check(python=key, machine=machine, torch=tried.name)
    check = replace(check, mps=works) if tried.device == "mps" else replace(check, cuda=works)
    try:
        facts.write(known.with_check(check))
    except PathError:
        return


def _digest(host: Host) -> str:
    docker = host.docker
    return docker.digests[docker.images.index("cuda")] if docker else ""
