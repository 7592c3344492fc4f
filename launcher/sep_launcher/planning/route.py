"""Facts to decision: which engine, which device, why, and what was turned down. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sep_protocol.errors import DeviceError, EngineError, NoRouteError, UsageError

if TYPE_CHECKING:
    from sep_launcher.machine.host import Host

Engine = Literal["native", "container"]
Kind = Literal["mps", "cuda", "cpu"]

ROSETTA_FIX = "install Python for Apple silicon (arm64) and sep with it; this one is translated"
NO_ENGINE = "no Docker engine was found"
REMOTE = "the Docker engine is on another machine and cannot see these files"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the user named."""

    engine: Literal["auto", "native", "container"] = "auto"
    device: str = "auto"  # auto | cpu | mps | cuda | cuda:N

    def __post_init__(self) -> None:
        """Raise UsageError for what is no device's name."""
        if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", self.device):
            raise UsageError(f"there is no device {self.device!r}", hint="auto, cpu, mps or cuda:N")

    @property
    def kind(self) -> str:
        """The device without its number."""
        return self.device.partition(":")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A way to do it; `refused` says why it cannot be, `ready` whether it is set up."""

    engine: Engine
    device: Kind
    reason: str
    ready: bool = False
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The choice. Without `ready` it must be set up first."""

    engine: Engine
    device: Kind  # what is expected; the runtime says what it is
    reason: str
    ready: bool
    alternatives: tuple[Candidate, ...] = ()  # in order of preference


# What a plan says where other machines choose, each for itself.
ELSEWHERE = Route(engine="native", device="cpu", reason="each node has its own", ready=True)


def choose(host: Host, wanted: Wanted | None = None) -> Route:
    """Return the best candidate that is set up; where none is, the best that could be.

    Raises NoRouteError; for a device that was named DeviceError, for the container EngineError.
    """
    wanted = wanted or Wanted()
    if host.rosetta:
        raise NoRouteError("this Python runs under Rosetta and cannot use Metal", ROSETTA_FIX)
    # Who names the container has a reason; its sentinel tells whether it sees our files.
    inside = "" if wanted.engine == "container" else _inside(host)
    found = candidates(host, inside)
    if wanted.kind == "cuda" and not host.gpus and _may_have_cuda(host):
        found = [_unseen_cuda(), *found]
    ranked = [_limited(each, wanted) for each in found]
    possible = [each for each in ranked if not each.refused]
    if not possible:
        _refuse(host, ranked, wanted)
    chosen = next((each for each in possible if each.ready), possible[0])
    others = tuple(each for each in ranked if each is not chosen)
    reason = _named(wanted) or chosen.reason
    better = possible[: possible.index(chosen)]
    if better and better[0].device != chosen.device:
        reason += f"; {better[0].engine} {better[0].device} would be faster but is not set up"
    return Route(
        engine=chosen.engine,
        device=chosen.device,
        reason=reason,
        ready=chosen.ready,
        alternatives=others,
    )


def candidates(host: Host, inside: str) -> list[Candidate]:
    """Return every way this host has, the best first, those that cannot be with the reason."""
    if host.system == "macos" and host.arm:
        return _apple(host, inside)
    found = []
    if host.gpus:
        found = [_container(host, "cuda", inside), _native(host, "cuda")]
        if inside:
            found.reverse()
        return [*found, _container(host, "cpu", inside), _native(host, "cpu")]
    container, native = _container(host, "cpu", inside), _native(host, "cpu")
    return [native, container] if inside else [container, native]


def _apple(host: Host, inside: str) -> list[Candidate]:
    failed = host.native is not None and host.native.mps is False
    mps = Candidate(
        engine="native",
        device="mps",
        reason="Apple GPU via Metal; containers on macOS cannot use it",
        ready=host.native is not None,
        refused="its smoke operation failed when it was set up" if failed else "",
    )
    return [mps, _native(host, "cpu"), _container(host, "cpu", inside)]


def _native(host: Host, device: Kind) -> Candidate:
    refused = ""
    if host.system == "macos" and not host.arm:
        refused = "PyTorch has no builds for Intel Macs any more"
    elif device == "cuda" and host.native is not None and host.native.cuda is False:
        refused = f"its torch {host.native.torch} has no CUDA"
    found = _gpu(host) if device == "cuda" else _no_gpu(host)
    reason = f"{found}; {_inside(host) or _without_container(host, device)}"
    return Candidate(
        engine="native",
        device=device,
        reason=reason,
        ready=host.native is not None,
        refused=refused,
    )


def _may_have_cuda(host: Host) -> bool:
    """Say whether something but the user's word speaks for a GPU that nvidia-smi does not show."""
    native = host.native
    if native is None or host.system == "macos" or host.nvidia is False:
        return False
    return native.cuda or (native.cuda is None and native.source == "SEP_RUNTIME_PYTHON")


def _unseen_cuda() -> Candidate:
    """Return the candidate for a GPU that only the user knows of: the runtime will prove it."""
    return Candidate(
        engine="native",
        device="cuda",
        reason="nvidia-smi shows no GPU, torch may find one",
        ready=True,
    )


def _container(host: Host, device: Kind, inside: str) -> Candidate:
    docker = host.docker
    refused = ""
    if inside:
        refused = inside
    elif docker is None:
        refused = NO_ENGINE
    elif docker.remote:
        refused = REMOTE
    elif docker.fault:
        refused = f"Docker: {docker.fault}"
    elif device == "cuda" and docker.desktop and host.system == "linux":
        refused = "Docker Desktop on Linux runs containers in a machine without the GPU"
    elif device == "cuda" and docker.gpu is False:
        refused = "Docker could not use the GPU when it was tried"
    reason = f"{_gpu(host)} through Docker" if device == "cuda" else f"{_no_gpu(host)}; Docker runs"
    return Candidate(
        engine="container",
        device=device,
        reason="" if refused else reason,
        # The image for CUDA also does without a GPU.
        ready=docker is not None and bool({device, "cuda"} & set(docker.images)),
        refused=refused,
    )


def _without_container(host: Host, device: Kind) -> str:
    """Say why it is not the container that does it."""
    container = _container(host, device, _inside(host))
    if container.refused:
        return container.refused
    return "" if container.ready else "no container image is set up"


def _inside(host: Host) -> str:
    if host.batch_system:
        return f"running under {host.batch_system}"
    return "already inside a container" if host.in_container else ""


def _gpu(host: Host) -> str:
    first = host.gpus[0]
    return f"{first.name}, driver {first.driver}"


def _no_gpu(host: Host) -> str:
    if host.apple_gpu:
        return "Metal is not used"
    return "the GPU is not used" if host.gpus else "no GPU found"


def _limited(candidate: Candidate, wanted: Wanted) -> Candidate:
    """Return the candidate, refused where the user asked for something else."""
    why = ""
    if wanted.engine not in ("auto", candidate.engine):
        why = f"you asked for {wanted.engine}"
    elif wanted.kind not in ("auto", candidate.device):
        why = f"you asked for {wanted.device}"
    if not why or candidate.refused:
        return candidate
    return Candidate(
        engine=candidate.engine,
        device=candidate.device,
        reason=candidate.reason,
        ready=candidate.ready,
        refused=why,
    )


def _named(wanted: Wanted) -> str:
    named = [each for each in (wanted.engine, wanted.device) if each != "auto"]
    return f"you asked for {' '.join(named)}" if named else ""


def _refuse(host: Host, ranked: list[Candidate], wanted: Wanted) -> None:
    asked = [
        each
        for each in ranked
        if wanted.engine in ("auto", each.engine) and wanted.kind in ("auto", each.device)
    ]
    why = "; ".join(f"{each.engine} {each.device}: {each.refused}" for each in asked)
    if wanted.kind != "auto" and not asked:
        raise DeviceError(
            f"device {wanted.device} cannot be used: there is no "
            + ("Apple GPU" if wanted.kind == "mps" else "NVIDIA GPU")
            + (f" for --engine {wanted.engine}" if wanted.engine != "auto" else ""),
            hint="sep route shows what it has",
        )
    if wanted.engine == "container" and not (host.docker and host.docker.remote):
        start = "docker context ls shows them" if "context" in why else "start Docker"
        raise EngineError(why, hint=f"{start}, or take --engine native")
    raise NoRouteError(f"nothing on this machine can do it: {why}")
