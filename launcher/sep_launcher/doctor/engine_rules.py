"""Rules about Docker: the daemon, what it can reach, and its images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sep_launcher.doctor.rule import rule
from sep_launcher.engines import IMAGE_SETUP, UNSEEN
from sep_launcher.machine.docker_probe import PERMISSION, SILENT, UNKNOWN_CONTEXT
from sep_launcher.planning.route import NO_ENGINE, REMOTE
from sep_launcher.setup.torch_builds import numbers
from sep_launcher.show.finding import Fix, Group

if TYPE_CHECKING:
    from sep_launcher.doctor.evidence import Evidence

GIB = 1 << 30
LITTLE_MEMORY = 3 * GIB
OLDEST_API = "1.41"  # Docker 20.10: device requests, init, cgroup v2
CONTAINERS = "runs in containers"


@rule(
    Group.ENGINE,
    "error",
    breaks=CONTAINERS,
    fix=Fix(
        linux="sudo systemctl enable --now docker",
        macos="open -a Docker",
        windows='start "Docker Desktop" from the start menu',
    ),
)
def docker_stopped(evidence: Evidence) -> str | None:
    """Docker is installed but does not answer."""
    docker = evidence.host.docker
    if docker is None:
        found = evidence.docker_command
        # Under WSL the socket is Docker Desktop's to lend, and in a container nobody expects one.
        if evidence.heard(NO_ENGINE) and found:
            return f"there is {found} and no socket"
        if found and not evidence.host.wsl and not evidence.host.in_container:
            return f"there is {found} and no socket"
    return None if evidence.variable("DOCKER_HOST") else evidence.heard(SILENT)


@rule(
    Group.ENGINE,
    "error",
    breaks=CONTAINERS,
    fix=Fix(
        linux="install Docker (Debian, Ubuntu: sudo apt-get install docker.io)",
        everywhere="install Docker Desktop",
    ),
)
def docker_missing(evidence: Evidence) -> str | None:
    """Docker is not installed."""
    return None if evidence.docker_command else evidence.heard(NO_ENGINE)


@rule(
    Group.ENGINE,
    "error",
    breaks=CONTAINERS,
    fix=Fix(everywhere="unset DOCKER_HOST", windows="Remove-Item Env:DOCKER_HOST"),
)
def docker_host_silent(evidence: Evidence) -> str | None:
    """The engine that DOCKER_HOST names does not answer."""
    return evidence.heard(SILENT) if evidence.variable("DOCKER_HOST") else None


@rule(
    Group.ENGINE,
    "error",
    breaks=CONTAINERS,
    fix=Fix(
        linux="sudo usermod -aG docker $USER, then log in again (this group may do anything here)",
        macos="start Docker Desktop as this user",
        windows="add this user to the group docker-users, then log in again",
    ),
)
def docker_permission(evidence: Evidence) -> str | None:
    """This user may not use Docker."""
    return evidence.heard(PERMISSION)


@rule(
    Group.ENGINE, "error", breaks=CONTAINERS, fix="unset DOCKER_CONTEXT; docker context use default"
)
def docker_context_unknown(evidence: Evidence) -> str | None:
    """The chosen Docker context does not exist."""
    return evidence.heard(UNKNOWN_CONTEXT)


@rule(
    Group.ENGINE,
    "warning",
    breaks=CONTAINERS,
    fix=Fix(
        everywhere="unset DOCKER_HOST; docker context use default",
        windows="Remove-Item Env:DOCKER_HOST; docker context use default",
    ),
)
def docker_remote(evidence: Evidence) -> str | None:
    """The Docker engine is on another machine."""
    docker = evidence.host.docker
    if docker and docker.remote:
        return f"{docker.endpoint}: it does not see this computer's files"
    return evidence.heard(REMOTE)


@rule(
    Group.ENGINE,
    "error",
    breaks=CONTAINERS,
    fix="take --engine native, or a Docker daemon of this computer (unset DOCKER_HOST)",
)
def docker_sees_other_files(evidence: Evidence) -> str | None:
    """The Docker daemon does not see this computer's files."""
    return evidence.heard(UNSEEN, "bind source path does not exist")


@rule(
    Group.ENGINE,
    "error",
    breaks="runs in containers from this folder",
    fix="Docker Desktop: Settings, Resources, File sharing: add it; or take --engine native",
)
def folder_not_shared(evidence: Evidence) -> str | None:
    """Docker Desktop does not share this folder."""
    return evidence.heard("does not share this folder", "Mounts denied", "not shared from the host")


@rule(
    Group.ENGINE,
    "error",
    breaks="containers from this place: Docker cannot reach network drives and WSL's folders",
    fix="copy the files to a disk of this computer, or take --engine native",
)
def place_not_mountable(evidence: Evidence) -> str | None:
    """The files are where Docker cannot reach."""
    return evidence.heard("Docker cannot mount it")


@rule(Group.ENGINE, "warning", breaks=CONTAINERS, fix="update Docker")
def docker_old(evidence: Evidence) -> str | None:
    """Docker is older than 20.10."""
    docker = evidence.host.docker
    if docker and docker.api and numbers(docker.api) < numbers(OLDEST_API):
        return f"Docker {docker.version}, API {docker.api}; {OLDEST_API} is needed"
    return evidence.heard("client version", "is too old. Minimum supported API")


@rule(
    Group.ENGINE,
    "error",
    breaks=CONTAINERS,
    fix="Docker's tray icon: Switch to Linux containers",
)
def docker_windows_containers(evidence: Evidence) -> str | None:
    """Docker is set to Windows containers."""
    docker = evidence.host.docker
    return "its containers are for Windows" if docker and docker.system == "windows" else None


@rule(
    Group.ENGINE,
    "error",
    breaks="building and loading images",
    fix="docker system prune; Docker Desktop: Settings, Resources, Disk usage limit",
)
def docker_disk_full(evidence: Evidence) -> str | None:
    """The disk of the Docker daemon is full."""
    return evidence.heard("disk of the Docker daemon is full")


@rule(
    Group.ENGINE,
    "warning",
    breaks="large models in containers",
    fix=Fix(
        everywhere="Docker Desktop: Settings, Resources, Memory",
        windows="in %UserProfile%\\.wslconfig: [wsl2] memory=8GB, then: wsl --shutdown",
        linux="run with fewer other programs; --batch 1 needs least",
    ),
)
def docker_memory_small(evidence: Evidence) -> str | None:
    """Containers have little memory."""
    docker = evidence.host.docker
    if docker and 0 < docker.memory < LITTLE_MEMORY:
        return f"{docker.memory / GIB:.1f} GiB for all of them"
    return None


@rule(
    Group.ENGINE,
    "error",
    breaks="this run",
    fix="--batch 1 needs less; raise --memory, or Docker Desktop's in Settings, Resources",
)
def container_memory(evidence: Evidence) -> str | None:
    """A container ran out of memory."""
    return evidence.heard("the container ran out of memory")


@rule(
    Group.ENGINE,
    "warning",
    breaks=CONTAINERS,
    fix="Docker Desktop on Windows: Settings, Resources, WSL integration: switch this one on",
)
def wsl_integration(evidence: Evidence) -> str | None:
    """Docker Desktop is not switched on for this WSL distribution."""
    host = evidence.host
    if host.wsl and host.docker is None and evidence.docker_command:
        return "the docker command is here, its socket is not"
    return None


@rule(Group.IMAGE, "error", breaks=CONTAINERS, fix=IMAGE_SETUP.removeprefix("run: "))
def image_missing(evidence: Evidence) -> str | None:
    """Runs would use a container, but there is no image."""
    route = evidence.route
    docker = evidence.host.docker
    if route and route.engine == "container" and not route.ready and docker and not docker.stale:
        return f"for {route.device}"
    return evidence.heard("there is no image for", "Docker does not have the image")


@rule(Group.IMAGE, "error", breaks=CONTAINERS, fix=IMAGE_SETUP.removeprefix("run: "))
def image_stale(evidence: Evidence) -> str | None:
    """The image was made by another version of sep."""
    docker = evidence.host.docker
    if docker and docker.stale:
        return ", ".join(docker.stale)
    said = evidence.heard("the image for")
    return said if said and "has sep" in said else None


@rule(Group.IMAGE, "error", breaks=CONTAINERS, fix=IMAGE_SETUP.removeprefix("run: "))
def image_for_another_processor(evidence: Evidence) -> str | None:
    """The image is for another processor."""
    return evidence.heard("this engine runs", "image is for another processor")


@rule(Group.IMAGE, "error", breaks=CONTAINERS, fix="sep setup --engine container --repair")
def image_broken(evidence: Evidence) -> str | None:
    """The image cannot run sep."""
    return evidence.heard("the image cannot run sep", "the image is not one of sep's")


RULES = (
    docker_stopped,
    docker_host_silent,
    docker_missing,
    docker_permission,
    docker_context_unknown,
    docker_remote,
    docker_sees_other_files,
    folder_not_shared,
    place_not_mountable,
    docker_old,
    docker_windows_containers,
    docker_disk_full,
    docker_memory_small,
    container_memory,
    wsl_integration,
    image_missing,
    image_stale,
    image_for_another_processor,
    image_broken,
)
