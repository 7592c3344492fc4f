"""The Docker daemon through docker-py: the only module that knows it, imported when it is needed.

Everything foreign is translated here: what it raises is a SepError.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.types import DeviceRequest, LogConfig, Mount
from docker.utils import socket as sockets

from sep_launcher.engines import (
    GPU_REFUSED,
    IMAGE_SETUP,
    LOG_DRIVER,
    LOG_SIZE,
    PROCESSES,
    RUNTIME,
    SHARED,
    TMP,
    TMP_FOLDER,
    TOOLKIT,
    UNSEEN,
    UNSEEN_HINT,
    GpuRefusedError,
)
from sep_launcher.machine.docker_probe import LABEL
from sep_protocol.errors import EngineError, NotReadyError, SepError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from sep_launcher.engines import Spec

ANSWER_SECONDS = 60
BUILD_SECONDS = 3600

PRUNE_TRIES = 50

STDOUT = 1
UNFINISHED = f"{LABEL}.stage=unfinished"  # the Dockerfile's label for what a build makes on its way


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image of ours, by its labels."""

    id: str
    variant: str
    version: str
    protocol: str
    wheel: str  # digest of what it was built from
    architecture: str
    size: int  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How a container ended."""

    code: int
    out_of_memory: bool
    memory: int  # its limit in bytes; 0: none


class Daemon:
    """A connection to one endpoint."""

    def __init__(self, endpoint: str) -> None:
        """Connect; raise EngineError where nobody answers."""
        with _translated():
            self._api = docker.APIClient(base_url=endpoint, timeout=ANSWER_SECONDS)
            self._info: dict[str, Any] = self._api.info()
        self.endpoint = endpoint

    @property
    def memory(self) -> int:
        """Bytes that all containers together can have."""
        return int(self._info.get("MemTotal") or 0)

    @property
    def architecture(self) -> str:
        """The daemon's, in the words of image architectures."""
        said = str(self._info.get("Architecture", ""))
        return {"x86_64": "amd64", "aarch64": "arm64"}.get(said, said)

    @property
    def rootless(self) -> bool:
        """Say whether root in a container is the user outside."""
        return any("rootless" in str(each) for each in self._info.get("SecurityOptions") or ())

    @property
    def desktop(self) -> bool:
        """Say whether it runs in Docker Desktop's machine, which maps owners itself."""
        return str(self._info.get("OperatingSystem", "")) == "Docker Desktop"

    def images(self) -> list[Image]:
        """Return all images of ours, of whatever version."""
        with _translated():
            listed = self._api.images(filters={"label": f"{LABEL}.variant"})
        return [image for each in listed if (image := self.image(each["Id"]))]

    def image(self, name: str) -> Image | None:
        """Return an image by id or tag, None where there is none."""
        with _translated():
            try:
                found = self._api.inspect_image(name)
            except ImageNotFound:
                return None
        labels = found["Config"].get("Labels") or {}
        return Image(
            id=found["Id"],
            variant=labels.get(f"{LABEL}.variant", ""),
            version=labels.get(f"{LABEL}.version", ""),
            protocol=labels.get(f"{LABEL}.protocol", ""),
            wheel=labels.get(f"{LABEL}.wheel", ""),
            architecture=str(found.get("Architecture", "")),
            size=int(found.get("Size") or 0),
        )

    def build(
        self, context: IO[bytes], tag: str, arguments: Mapping[str, str], network: str | None
    ) -> Generator[str, None, None]:
        """Build from a tar of a context; yield what the build says.

        Raises NotReadyError with the daemon's words for the step that failed.
        """
        with _translated():
            said = self._api.build(
                fileobj=context,
                custom_context=True,
                tag=tag,
                buildargs=dict(arguments),
                network_mode=network,
                rm=True,
                forcerm=True,
                decode=True,
                timeout=BUILD_SECONDS,
            )
            with contextlib.closing(said):  # who hangs up ends the build
                yield from _said(said)

    def load(self, archive: IO[bytes]) -> list[str]:
        """Load images from a tar as `docker save` writes it; return what the daemon says."""
        with _translated():
            response = self._api._post(  # noqa: SLF001 (load_image reads it all into memory)
                self._api._url("/images/load"),  # noqa: SLF001
                data=archive,
                headers={"Content-Type": "application/x-tar"},
                params={"quiet": "1"},
                stream=True,
                timeout=BUILD_SECONDS,
            )
            if response.status_code != requests.codes.ok:
                raise NotReadyError(f"the archive cannot be loaded: {response.text.strip()}")
            lines = [json.loads(line) for line in response.iter_lines() if line]
        try:
            return list(_said(iter(lines)))
        except NotReadyError as fault:
            raise NotReadyError(f"the archive cannot be loaded: {fault.message}") from fault

    def tag(self, image: str, tag: str) -> None:
        """Give an image one more name."""
        repository, _, name = tag.partition(":")
        with _translated():
            self._api.tag(image, repository, name)

    def unfinished(self) -> list[str]:
        """Return what builds have left that failed, were interrupted or needed it on their way."""
        wanted = {"dangling": True, "label": UNFINISHED}
        with _translated():
            return [str(each["Id"]) for each in self._api.images(filters=wanted)]

    def remove_unfinished(self) -> None:
        """Remove it; a build that was interrupted a moment ago may hold it for a while."""
        for _ in range(PRUNE_TRIES):
            found = self.unfinished()
            if not found:
                return
            for image in found:
                with contextlib.suppress(SepError):
                    self.remove_image(image)
            time.sleep(0.2)

    def remove_image(self, image: str) -> None:
        """Remove an image with all its names."""
        with _translated():
            self._api.remove_image(image, force=True)

    def create(self, spec: Spec, *, cdi: bool = False) -> str:
        """Make a container, locked down, and return its id."""
        mounts = [
            Mount(type="bind", source=source, target=target, read_only=not writable)
            for source, target, writable in spec.binds
        ]
        with _translated():
            host = self._api.create_host_config(
                mounts=mounts,
                network_mode="none",
                read_only=True,
                tmpfs={TMP_FOLDER: TMP},
                cap_drop=["ALL"],
                security_opt=["no-new-privileges:true", "label=disable"],
                pids_limit=PROCESSES,
                shm_size=SHARED,
                ipc_mode="private",
                init=True,
                log_config=LogConfig(type=LOG_DRIVER, config={"max-size": LOG_SIZE}),
                group_add=[str(group) for group in spec.groups],
                mem_limit=spec.memory,
                # Swap would make it slow instead of telling that the limit is too low.
                memswap_limit=spec.memory,
                device_requests=_gpu(cdi=cdi) if spec.gpu else None,
            )
            made = self._api.create_container(
                spec.image,
                list(spec.command),
                entrypoint=list(RUNTIME),
                host_config=host,
                user=spec.user,
                environment=dict(spec.environment),
                labels=dict(spec.labels),
                stdin_open=True,  # once: it closes when we go, and the runtime watches it
            )
        return str(made["Id"])

    def attach(self, container: str) -> Attached:
        """Attach to a container that has not started yet."""
        wanted = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1, "logs": 1}
        with _translated():
            return Attached(self._api.attach_socket(container, params=wanted))

    def start(self, container: str) -> None:
        """Start it; raises GpuRefusedError where the daemon cannot give it the GPU."""
        with _translated():
            self._api.start(container)

    def wait(self, container: str) -> State:
        """Wait for the end and say how it was."""
        with _translated():
            code = int(self._api.wait(container, timeout=ANSWER_SECONDS)["StatusCode"])
            found = self._api.inspect_container(container)
        return State(
            code=code,
            out_of_memory=bool(found["State"].get("OOMKilled")),
            memory=int(found["HostConfig"].get("Memory") or 0),
        )

    def stop(self, container: str, seconds: int) -> None:
        """Stop it gently, and after some seconds at once."""
        with _translated():
            self._api.stop(container, timeout=seconds)

    def remove(self, container: str) -> None:
        """Kill it if it lives, and remove it; no matter if it is gone already."""
        with _translated(), contextlib.suppress(NotFound):
            self._api.remove_container(container, force=True, v=True)

    def containers(self) -> list[tuple[str, dict[str, str]]]:
        """Return id and labels of every container of ours, running or not."""
        with _translated():
            found = self._api.containers(all=True, filters={"label": f"{LABEL}.job"})
        return [(str(each["Id"]), dict(each["Labels"])) for each in found]

    def close(self) -> None:
        """End the connection."""
        self._api.close()


class Attached:
    """The three streams of a container."""

    def __init__(self, socket: Any) -> None:  # noqa: ANN401 (what docker-py gives differs by system)
        self._socket = socket

    def frames(self) -> Iterator[tuple[bool, bytes]]:
        """Yield (is it standard output, bytes), cut anywhere, until the container ends."""
        try:
            for stream, data in sockets.frames_iter(self._socket, tty=False):
                yield stream == STDOUT, data
        except (OSError, ValueError):
            return  # the daemon went away: what follows finds out

    def send(self, data: bytes) -> None:
        """Write to the container's standard input; raise OSError where it is gone."""
        # On Unix docker-py gives a file around the socket, which cannot be written through.
        getattr(self._socket, "_sock", self._socket).sendall(data)

    def close(self) -> None:
        """Hang up: the container's standard input ends."""
        self._socket.close()


def _gpu(*, cdi: bool) -> list[DeviceRequest]:
    if cdi:
        return [DeviceRequest(driver="cdi", device_ids=["nvidia.com/gpu=all"])]
    return [DeviceRequest(count=-1, capabilities=[["gpu"]])]


def _said(answers: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a build or load; its failure comes among them."""
    for answer in answers:
        if "error" in answer:
            raise NotReadyError(answer["error"].strip())
        text = answer.get("stream") or answer.get("status") or ""
        yield from (line for line in str(text).splitlines() if line.strip())


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except APIError as fault:
        raise of_daemon(str(fault.explanation or fault), fault) from fault
    except (DockerException, requests.RequestException, OSError) as fault:
        raise EngineError(
            f"the Docker daemon does not answer: {_innermost(fault)}", hint="docker info says more"
        ) from fault


def of_daemon(text: str, fault: APIError | None = None) -> SepError:
    """Return our error for what a daemon said."""
    if any(each in text for each in GPU_REFUSED):
        return GpuRefusedError(f"Docker cannot give the GPU to containers: {text}", hint=TOOLKIT)
    if isinstance(fault, ImageNotFound):
        return NotReadyError(f"Docker does not have the image: {text}", hint=IMAGE_SETUP)
    if "bind source path does not exist" in text:
        return EngineError(f"{UNSEEN}: {text}", hint=UNSEEN_HINT)
    if "Mounts denied" in text or "not shared from the host" in text:
        return EngineError(
            f"Docker Desktop does not share this folder: {text}",
            hint="share it in Docker Desktop: Settings, Resources, File sharing",
        )
    if "no space left on device" in text:
        return EngineError("the disk of the Docker daemon is full", hint="docker system prune")
    if "exec format error" in text:
        return NotReadyError("the image is for another processor", hint=IMAGE_SETUP)
    if "not found in $PATH" in text or "no such file or directory" in text:
        return NotReadyError(f"the image is not one of sep's: {text}", hint=IMAGE_SETUP)
    return EngineError(f"the Docker daemon refused: {text}", hint="docker info says more")


def _innermost(fault: BaseException) -> str:
    """Return the system's own words at the bottom of a chain of wrappers."""
    while cause := fault.__cause__ or fault.__context__:
        fault = cause
    if isinstance(fault, PermissionError):
        return "no permission to use its socket (is this user in the docker group?)"
    return str(getattr(fault, "strerror", None) or fault)
