"""Ways to run the runtime: one Job in, Events out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from sep_protocol.errors import DeviceError, RuntimeFailedError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from sep_launcher.planning.plan import Plan
    from sep_launcher.planning.workers import By
    from sep_protocol import Event, Job


# What a container may take beside its mounts, whoever makes it.
TMP_FOLDER = "/tmp"  # noqa: S108 (the container's own)
TMP = "size=2g,mode=1777"
PROCESSES = 512
RUNTIME = ("/opt/sep/bin/python", "-P", "-m", "sep_runtime")  # the image's own command is `sep`
SHARED = "256m"
LOG_DRIVER = "json-file"  # has no limit by itself
LOG_SIZE = "32m"
# Of one line from a runtime: more is cut, so that none can fill this computer's memory.
EVENT_BYTES = 4 << 20
LOG_BYTES = 64 << 10
UNSEEN = "the Docker daemon does not see this computer's files"
UNSEEN_HINT = "take --engine native; a daemon on another machine cannot do it"
IMAGE_SETUP = "run: sep setup --engine container"
TOOLKIT = (
    "install the NVIDIA Container Toolkit, then: "
    "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"
)
# What daemons and their hooks say where they cannot give a container the GPU.
GPU_REFUSED = (
    "could not select device driver",
    "nvidia-container-cli",
    "unresolvable CDI devices",
    "failed to inject CDI devices",
    "unknown or invalid runtime name: nvidia",
    "no adapters were found",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A container to be."""

    image: str
    command: tuple[str, ...]
    binds: tuple[tuple[str, str, bool], ...]  # source, target, writable
    environment: Mapping[str, str]
    labels: Mapping[str, str]
    user: str | None = None
    groups: tuple[int, ...] = ()
    gpu: bool = False
    memory: int | None = None  # bytes; None: no limit but the daemon's


class GpuRefusedError(DeviceError):
    """The engine cannot give the GPU to the runtime; another route may do."""


class LostError(RuntimeFailedError):
    """A worker ended for a reason that is not its track's: the node's (`blame`), or nobody's."""

    def __init__(self, message: str, hint: str = "", *, blame: Literal["node", "nobody"]) -> None:
        super().__init__(message, hint)
        self.blame = blame


class Engine(Protocol):
    """One run of one plan."""

    @property
    def by(self) -> By | None:
        """Who said the event that was yielded last; None where there is one runtime."""

    def ready(self) -> str:
        """Wait until a plan can begin, and return the name of the machine that will do it.

        Raises a SepError where there will be none.
        """

    def start(self, plan: Plan) -> Generator[Event, None, None]:
        """Yield the runtime's events, Hello first and Done or Failed last.

        Raises a SepError where the runtime cannot be started or ends without a last word.
        """

    def stop(self) -> None:
        """End the runtime, gently first, and wait until it has cleaned up."""

    def kill(self) -> None:
        """End the runtime now."""

    def pause(self) -> None:
        """Let the runtime rest, where that can be done; called by a signal."""

    def go_on(self) -> None:
        """Let it work again."""


@runtime_checkable
class Placed(Protocol):
    """An Engine that somebody else gives a place to: it may be on another machine after a loss."""

    def avoid(self) -> None:
        """Leave this machine for the rest of the run; `ready` waits for another one."""

    def close(self) -> None:
        """Give the place back."""


@runtime_checkable
class Many(Protocol):
    """An Engine that makes many Jobs of a plan."""

    @property
    def begun(self) -> list[Job]:
        """Those that may have left something: of runtimes that died, and that still work."""
