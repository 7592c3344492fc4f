"""What a run asks of a Ray cluster. Pure; Ray itself is known by `engines/ray`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sep_protocol.errors import UsageError

DEVICES = ("auto", "cuda", "cpu")
OPTIONS = {
    "address": "--address",
    "workers": "--workers",
    "gpu_share": "--gpu-share",
    "cpus": "--cpus",
    "insecure": "--insecure-cluster",
    "dashboard": "--dashboard",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterWish:
    """What a run asks of a cluster."""

    address: str | None = None  # HOST:PORT of its head; None: RAY_ADDRESS, else one of our own
    workers: int | None = None  # at most; more than there is room for wait. None: as many as fit
    gpu_share: int = 1  # workers on one GPU
    cpus: int | None = None  # of each worker; None: a fair share of its node
    device: str = "auto"  # auto, cuda or cpu; auto: GPUs where the cluster has any
    insecure: bool = False  # whether a cluster without a token will do
    dashboard: bool = False  # of a cluster that is started, on loopback

    def __post_init__(self) -> None:
        """Raise UsageError for counts that cannot be."""
        if self.device not in DEVICES:
            raise UsageError(
                f"--device {self.device} is not for --engine ray",
                hint="auto, cuda or cpu: Ray chooses which GPU",
            )
        for name, value in (("workers", self.workers), ("cpus", self.cpus)):
            if value is not None and value < 1:
                raise UsageError(f"--{name} must be at least 1, not {value}")
        if self.gpu_share < 1:
            raise UsageError(f"--gpu-share must be at least 1, not {self.gpu_share}")


def wish(engine: str, *, device: str, **options: Any) -> ClusterWish | None:  # noqa: ANN401
    """Return the wish of the command line's options; None for another engine than Ray's.

    Raises UsageError for options that have no meaning.
    """
    if engine != "ray":
        given = {name for name, value in options.items() if value is not None}
        given -= {name for name in given if options[name] is False}
        given -= {"gpu_share"} if options["gpu_share"] == 1 else set()
        if given:
            name = OPTIONS[min(given)]
            raise UsageError(f"{name} is for --engine ray", hint=f"leave out {name}")
        return None
    return ClusterWish(device=device, **options)
