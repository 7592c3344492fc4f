"""Rules about the way of a GPU into a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sep_launcher.doctor.rule import rule
from sep_launcher.engines import GPU_REFUSED, TOOLKIT
from sep_launcher.show.finding import Group

if TYPE_CHECKING:
    from sep_launcher.doctor.evidence import Evidence

CONTAINER_GPU = "the GPU in containers"
NATIVE = "; sep run --engine native needs no Docker"
# What both kinds of a missing toolkit sound like; CDI and WSL have rules of their own.
REFUSED = tuple(each for each in GPU_REFUSED if "CDI" not in each and "adapters" not in each)


@rule(
    Group.ENGINE,
    "error",
    breaks=CONTAINER_GPU,
    fix=TOOLKIT,
)
def toolkit_missing(evidence: Evidence) -> str | None:
    """The NVIDIA Container Toolkit is not installed."""
    if evidence.graphics.toolkit:
        return None
    if said := evidence.heard(*REFUSED):
        return said
    docker = evidence.host.docker
    usable = docker and not (docker.fault or docker.remote or docker.desktop)
    if usable and evidence.host.gpus and evidence.host.system == "linux" and not evidence.host.wsl:
        return "there is an NVIDIA GPU, Docker answers, and nvidia-ctk is not here"
    return None


@rule(
    Group.ENGINE,
    "error",
    breaks=CONTAINER_GPU,
    fix="sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker",
)
def toolkit_not_configured(evidence: Evidence) -> str | None:
    """Docker does not know the NVIDIA Container Toolkit."""
    if not evidence.graphics.toolkit:
        return None
    docker = evidence.host.docker
    tried = docker is not None and docker.gpu is False and "nvidia" not in docker.runtimes
    return evidence.heard(*REFUSED) or ("nvidia is not among its runtimes" if tried else None)


@rule(
    Group.ENGINE,
    "error",
    breaks=CONTAINER_GPU,
    fix="sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
)
def cdi_stale(evidence: Evidence) -> str | None:
    """The CDI file was made for another driver."""
    graphics = evidence.graphics
    others = [each for each in graphics.cdi if graphics.driver and each != graphics.driver]
    if others:
        return f"it names {', '.join(others)}, the driver is {graphics.driver}"
    return evidence.heard("failed to inject CDI devices", "unresolvable CDI devices")


@rule(
    Group.ENGINE,
    "warning",
    breaks=CONTAINER_GPU,
    fix="in /etc/nvidia-container-runtime/config.toml: no-cgroups = true, or rootful Docker",
)
def rootless_gpu(evidence: Evidence) -> str | None:
    """Rootless Docker cannot hand out the GPU as it is set up."""
    return evidence.heard("bpf_prog_query", "failed to initialize NVML: Unknown Error")


@rule(
    Group.ENGINE,
    "warning",
    breaks=f"{CONTAINER_GPU}: snap keeps the driver's libraries from Docker",
    fix="sudo snap remove docker, then install Docker from docker.com or your distribution",
)
def docker_from_snap(evidence: Evidence) -> str | None:
    """Docker is the snap."""
    docker = evidence.host.docker
    root = docker.root if docker else ""
    if evidence.host.gpus and (
        root.startswith("/var/snap/") or evidence.docker_command.startswith("/snap/")
    ):
        return root or evidence.docker_command
    return None


@rule(
    Group.ENGINE,
    "warning",
    breaks=f"{CONTAINER_GPU}: its machine has none",
    fix=f"docker context use default (the system's own Docker){NATIVE}",
)
def docker_desktop_on_linux(evidence: Evidence) -> str | None:
    """Docker Desktop on Linux has no GPU."""
    host = evidence.host
    desktop = host.docker is not None and host.docker.desktop
    return (
        host.gpus[0].name
        if desktop and host.system == "linux" and host.gpus and not host.wsl
        else None
    )


@rule(
    Group.ENGINE,
    "warning",
    breaks=f"{CONTAINER_GPU}: Podman ignores the request and says nothing",
    fix=f"use Docker{NATIVE}",
)
def podman(evidence: Evidence) -> str | None:
    """The engine is Podman."""
    host = evidence.host
    if host.docker and host.docker.podman and host.gpus:
        return f"Podman {host.docker.version} answers in Docker's place"
    return None


@rule(
    Group.ENGINE,
    "warning",
    breaks=CONTAINER_GPU,
    fix="Docker Desktop: Settings, General: Use the WSL 2 based engine",
)
def docker_hyper_v(evidence: Evidence) -> str | None:
    """Docker Desktop runs in Hyper-V, which has no GPU."""
    host = evidence.host
    if host.system == "windows" and host.gpus and host.docker and "linuxkit" in host.docker.kernel:
        return host.docker.kernel
    return None


@rule(
    Group.ENGINE,
    "error",
    breaks=CONTAINER_GPU,
    fix="in PowerShell: wsl --update; wsl --shutdown; then update the NVIDIA driver of Windows",
)
def wsl_without_adapter(evidence: Evidence) -> str | None:
    """WSL does not see the GPU."""
    return evidence.heard("no adapters were found")


RULES = (
    toolkit_missing,
    toolkit_not_configured,
    cdi_stale,
    rootless_gpu,
    docker_from_snap,
    docker_desktop_on_linux,
    podman,
    docker_hyper_v,
    wsl_without_adapter,
)
