"""What the router may know about this machine: facts without opinions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

System = Literal["linux", "macos", "windows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """An NVIDIA GPU as `nvidia-smi` tells it."""

    name: str
    driver: str  # version
    capability: float  # compute capability
    memory: int  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Snr:
    """How close the golden clip's stems were to the CPU's in fp32, on a device in a precision."""

    device: str  # cpu, mps or cuda
    precision: str
    decibels: float | None = None  # of the worst stem; None: it failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Docker:
    """A Docker endpoint and what it said."""

    endpoint: str  # unix://, npipe://, tcp:// or ssh://
    remote: bool = False  # its files are not this host's
    fault: str = ""  # why it does not answer; nothing else is known then
    version: str = ""
    podman: bool = False
    desktop: bool = False
    rootless: bool = False
    memory: int = 0  # bytes that containers can have
    system: str = ""  # of its containers: linux or windows
    kernel: str = ""
    root: str = ""  # where it keeps its data
    runtimes: tuple[str, ...] = ()
    api: str = ""  # version
    stale: tuple[str, ...] = ()  # images of other versions of sep, for people
    images: tuple[str, ...] = ()  # variants of this sep version that are set up: cpu, cuda
    digests: tuple[str, ...] = ()  # of those images, in the same order
    gpu: bool | None = None  # whether a container has used the GPU; None: never tried
    snr: tuple[Snr, ...] = ()  # of the image for CUDA, where it was measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Native:
    """A Python that could run the runtime."""

    python: str
    source: Literal["SEP_RUNTIME_PYTHON", "setup", "own"]
    torch: str | None = None  # version, where it is known without starting that Python
    cuda: bool | None = None  # whether its torch has CUDA; None: not known
    mps: bool | None = None  # whether the smoke operation passed; None: never tried
    snr: tuple[Snr, ...] = ()  # where it was measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """This machine."""

    system: System
    version: str = ""  # of the operating system
    arm: bool = False  # the processor, also under Rosetta
    rosetta: bool = False  # this Python is translated
    cores: float = 1.0  # that may be used: affinity and cgroup quota counted
    memory: int = 0  # bytes that may be used
    gpus: tuple[Gpu, ...] = ()
    nvidia: bool | None = None  # whether NVIDIA's driver runs; None: not known here
    docker: Docker | None = None  # None: no sign of an engine
    native: Native | None = None  # None: no environment with torch
    in_container: bool = False
    batch_system: str = ""  # Slurm or Apptainer, if we run under one
    wsl: bool = False

    @property
    def apple_gpu(self) -> bool:
        """Say whether Metal can be had."""
        return self.system == "macos" and self.arm
