"""Where a run is done, in words for people. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sep_launcher.machine.host import Host
    from sep_launcher.planning.route import Route, Wanted

DEVICES = {"cpu": "the CPU", "mps": "the Apple GPU", "cuda": "the NVIDIA GPU"}


def place(host: Host, route: Route, wanted: Wanted) -> str:
    """Return where a route leads, as in `on the CPU (no GPU found), in a container`."""
    why = _gpu(host) if route.device == "cuda" else ""
    if route.device == "cpu" and wanted.kind == "auto":
        why = _no_gpu(host)
    told = f"on {DEVICES[route.device]}" + (f" ({why})" if why else "")
    return f"{told}, in a container" if route.engine == "container" else told


def device(named: str) -> str:
    """Return a device as torch names it in words: cpu, mps, cuda, cuda:1."""
    kind, _, number = named.partition(":")
    told = DEVICES.get(kind, named)
    return f"{told} {number}" if number not in ("", "0") else told


def _gpu(host: Host) -> str:
    return host.gpus[0].name.removeprefix("NVIDIA ") if host.gpus else ""


def _no_gpu(host: Host) -> str:
    if not host.gpus and not host.apple_gpu:
        return "no GPU found"
    return "the GPU is not used: see sep doctor"
