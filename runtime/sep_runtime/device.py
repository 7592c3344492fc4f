"""The one place that chooses a device: MPS, then CUDA, then CPU, each proved before it is used."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

import torch

from sep_protocol.errors import DeviceError, UsageError
from sep_runtime import memory
from sep_runtime.accel import hardware

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A device that passed its smoke operation."""

    device: torch.device
    name: str  # for people
    reason: str
    failures: tuple[str, ...] = ()  # better devices that are here and did not pass


def parse(wanted: str) -> str:
    """Return `auto`, `cpu`, `mps`, `cuda` or `cuda:N`; raise UsageError for anything else."""
    # torch takes no index above 127, and none with a leading zero.
    if re.fullmatch(r"auto|cpu|mps|cuda(:(0|[1-9][0-9]?))?", wanted):
        return wanted
    raise UsageError(f"there is no device {wanted!r}", hint="auto, cpu, mps, cuda or cuda:N")


def choose(wanted: str) -> Choice:
    """Return the wanted device, or for `auto` the best that works.

    Raises DeviceError where a named device is absent or does not work, MemoryLimitError where its
    memory is full: it is never replaced.
    """
    wanted = parse(wanted)
    if wanted != "auto":
        fault = _fault(wanted)
        if fault:
            if memory.is_short(RuntimeError(fault)):
                raise memory.error(RuntimeError(fault))
            raise DeviceError(
                f"device {wanted} cannot be used: {fault}",
                hint="auto takes the best that works",
                command="leave out --device to take the best",
            )
        return Choice(
            device=torch.device(wanted),
            name=hardware.name_of(torch.device(wanted)),
            reason="you asked for it",
        )
    failures: list[str] = []
    for kind, reason in (("mps", "Apple GPU through Metal"), ("cuda", "NVIDIA GPU")):
        if not _present(kind):
            continue
        fault = _fault(kind)
        if not fault:
            return Choice(
                device=torch.device(kind),
                name=hardware.name_of(torch.device(kind)),
                reason=reason,
                failures=tuple(failures),
            )
        failures.append(f"{kind} failed: {fault}")
    reason = failures[0] if failures else "no GPU that torch can use"
    cpu = torch.device("cpu")
    return Choice(device=cpu, name=hardware.name_of(cpu), reason=reason, failures=tuple(failures))


def _present(kind: str) -> bool:
    return torch.backends.mps.is_available() if kind == "mps" else torch.cuda.is_available()


def _fault(wanted: str) -> str:
    """Return why the device cannot be used, nothing if it can."""
    device = torch.device(wanted)
    if device.type == "mps" and not _present("mps"):
        built = torch.backends.mps.is_built()
        return "this machine has no Metal GPU" if built else "this torch was built without Metal"
    if device.type == "cuda":
        if not _present("cuda"):
            built = torch.backends.cuda.is_built()  # type: ignore[no-untyped-call]
            return "torch finds no NVIDIA GPU" if built else "this torch was built without CUDA"
        count = torch.cuda.device_count()
        if int(wanted.partition(":")[2] or 0) >= count:
            return f"this machine has {count} of NVIDIA, counted from 0"
    try:
        smoke(device)
    except (RuntimeError, NotImplementedError) as fault:
        log.warning("smoke operation on %s failed: %s", device, fault)
        return str(fault).splitlines()[0]
    return ""


def smoke(device: torch.device) -> None:
    """Run a convolution and an FFT, as the networks do; raise RuntimeError where one is wrong."""
    ones = torch.ones(1, 1, 4, 8, device=device)
    total = torch.nn.functional.conv2d(ones, ones.narrow(-1, 0, 3).narrow(-2, 0, 3)).sum()
    bins = torch.fft.irfft(torch.fft.rfft(ones))
    if float(total.cpu()) != 2 * 6 * 9 or float(bins.sum().cpu().round()) != 4 * 8:
        raise RuntimeError("a convolution or FFT gave a wrong result")
