"""How many runtimes share a run, and on which devices. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sep_launcher.planning import places, precisions
from sep_launcher.planning import route as routes
from sep_launcher.planning.environment import environment
from sep_launcher.planning.listed import parted
from sep_launcher.planning.route import Wanted
from sep_protocol.errors import DeviceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sep_launcher.machine.host import Host
    from sep_launcher.planning.route import Route
    from sep_protocol import Precision

Jobs = int | Literal["auto"] | None
ALL = "all"
AUTO_THREADS = 2  # of a worker on the CPU: more gain less than another worker does
PER_GPU = 2  # workers: one reads and writes while the other computes (benchmarks/throughput.py)
GPU_BYTES = 16 << 30  # of a GPU that two are sure to fit on
WORKER_BYTES = 1 << 30  # that one needs beside its weights
MOST_JOBS = 256
DEVICES = "auto, cpu, mps, cuda, cuda:1, cuda:0,1 or cuda:all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One of the runtimes that share a run."""

    name: str
    device: str  # for its Jobs
    route: Route
    place: str  # for people
    precision: Precision
    environment: dict[str, str]  # of its runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """Who said an event, where there are many."""

    worker: Worker
    node: str  # the name of its machine; empty: not known yet
    attempt: int | None = None  # at the track, from 1; None: it is about none

    def facts(self) -> dict[str, object]:
        """Return what scripts are told."""
        return {"worker": self.worker.name, "node": self.node, "attempt": self.attempt}


def devices_of(text: str) -> tuple[str, ...]:
    """Return the devices that a text names, as in `cuda:0,1` or `cuda:all`; raise UsageError."""
    found: list[str] = []
    for each in parted([text.lower()], "--device"):
        kind = found[-1].partition(":")[0] if found else ""
        name = f"{kind}:{each}" if re.fullmatch("[0-9]{1,3}", each) and kind == "cuda" else each
        if name != f"cuda:{ALL}":
            try:
                Wanted(device=name)
            except UsageError as fault:
                raise UsageError(fault.message, hint=DEVICES) from fault
        if name in found:
            raise UsageError(f"--device names {name} twice", hint="-j N makes many of one")
        found.append(name)
    if len(found) > 1 and "auto" in found:
        raise UsageError("auto is a device by itself", hint=DEVICES)
    if f"cuda:{ALL}" in found and sum(each.startswith("cuda") for each in found) > 1:
        raise UsageError(f"cuda:{ALL} is all of them", hint="leave out the others")
    return tuple(found)


def first(devices: Sequence[str]) -> str:
    """Return the device whose route is planned first."""
    return devices[0].removesuffix(f":{ALL}")


def many(devices: Sequence[str]) -> bool:
    """Say whether names stand for several devices, or may."""
    return len(devices) > 1 or devices[0].endswith(f":{ALL}")


def jobs_of(text: str | None) -> Jobs:
    """Return how many runtimes a text asks for; raise UsageError."""
    if text is None or text == "auto":
        return text  # type: ignore[return-value]  # what is left of a str
    if re.fullmatch("[0-9]{1,9}", text) and 1 <= int(text) <= MOST_JOBS:
        return int(text)
    raise UsageError(f"--jobs must be from 1 to {MOST_JOBS}, or auto, not {text}")


def workers(
    host: Host,
    devices: Sequence[str],
    *,
    engine: Literal["auto", "native", "container"],
    jobs: Jobs,
    tracks: int,
    precision: Precision,
    weights: int = 0,
) -> tuple[Worker, ...]:
    """Return the workers, dealt round the devices, never more than there are tracks.

    `weights` is the size in bytes of all models. Raises UsageError for fewer jobs than devices,
    and what `route.choose` raises for a device that cannot be used.
    """
    wish = devices
    if jobs == "auto" and tuple(devices) in (("auto",), ("cuda",)) and len(host.gpus) > 1:
        wish = (f"cuda:{ALL}",)
    named = [each for wanted in wish for each in _named(wanted, host)]
    chosen = {each: routes.choose(host, Wanted(engine=engine, device=each)) for each in named}
    count = _count(jobs, len(named), host, list(chosen.values()), weights)
    count = max(1, min(count, tracks))
    dealt = [named[number % len(named)] for number in range(count)]
    on_cpu = sum(chosen[each].device == "cpu" for each in dealt)
    found = []
    for number, device in enumerate(dealt):
        route = chosen[device]
        turn = dealt[:number].count(device) + 1
        name = route.device if device == "auto" else device
        sharing = on_cpu if route.device == "cpu" else count
        found.append(
            Worker(
                name=f"{name}-{turn}" if dealt.count(device) > 1 else name,
                device=device,
                route=route,
                place=places.place(host, route, Wanted(engine=engine, device=device)),
                precision=precisions.resolved(precision, host, route),
                environment=environment(host, route, max(1, math.floor(host.cores / sharing))),
            )
        )
    return tuple(found)


def _named(wanted: str, host: Host) -> list[str]:
    """Return the devices that one name stands for."""
    if wanted != f"cuda:{ALL}":
        return [wanted]
    if not host.gpus:
        raise DeviceError(
            f"device {wanted} cannot be used: nvidia-smi shows no GPU",
            hint="name them, as in cuda:0,1; sep route shows what there is",
        )
    return [f"cuda:{number}" for number in range(len(host.gpus))]


def _count(jobs: Jobs, devices: int, host: Host, chosen: list[Route], weights: int) -> int:
    if isinstance(jobs, int):
        if jobs < devices:
            raise UsageError(f"--jobs {jobs} is fewer than the {devices} devices")
        return jobs
    if jobs is None:
        return devices
    if any(each.device == "cuda" for each in chosen):
        least = min((gpu.memory for gpu in host.gpus), default=0)
        return devices * (PER_GPU if least >= GPU_BYTES else 1)
    if any(each.device != "cpu" for each in chosen):
        return devices
    room = host.memory // (WORKER_BYTES + 4 * weights) if host.memory else 1
    return max(devices, min(int(host.cores // AUTO_THREADS), room))
