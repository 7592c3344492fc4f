"""What the rules look at: facts of this machine, and words that programs said. Nothing is asked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sep_launcher.machine.host import Native
from sep_launcher.planning import route as routes
from sep_launcher.planning.precisions import PLAIN
from sep_protocol.errors import SepError

if TYPE_CHECKING:
    from sep_launcher.machine.host import Host
    from sep_launcher.planning.route import Engine, Kind, Route
    from sep_protocol import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Graphics:
    """What the system shows of GPUs beside the list of nvidia-smi."""

    vendors: tuple[str, ...] = ()  # of display controllers: nvidia, amd, intel
    board: str = ""  # of a Jetson
    driver: str = ""  # version of NVIDIA's kernel module
    smi: str = ""  # what nvidia-smi said when it failed
    smi_here: bool = False
    toolkit: bool = False  # nvidia-ctk is here
    cdi: tuple[str, ...] = ()  # driver versions that the CDI files name
    hidden: str | None = None  # CUDA_VISIBLE_DEVICES
    wsl_library: str = ""  # where libcuda.so.1 lies, under WSL


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A place that sep writes to."""

    what: str  # data, temporary or output
    path: str
    free: int  # bytes
    writable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Installed weights of a model."""

    model: str
    path: str
    fault: str = ""  # what is wrong with the file
    pulled: bool = False  # not bundled: it was fetched


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The environment that setup noted, and its notes."""

    fault: str = ""  # why the file of facts cannot be used
    python: str = ""  # that setup made; empty: none
    version: str = ""  # of the sep in it
    exists: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package in the runtime's Python: a version, or why it cannot be imported."""

    name: str
    version: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What the runtime's Python says of itself."""

    python: str = ""  # version
    fault: str = ""  # why it did not answer; nothing else is known then
    packages: tuple[Package, ...] = ()
    models: str = ""  # the folder of its sep_models
    importing: str = ""  # the package that was tried last
    cuda: str = ""  # version that torch was built for
    cuda_available: bool | None = None
    cuda_fault: str = ""
    architectures: tuple[str, ...] = ()  # of GPUs that torch has kernels for: sm_75
    mps_built: bool | None = None
    mps_available: bool | None = None
    mps_fault: str = ""  # of a first small tensor
    virtual: bool | None = None  # macOS runs in a virtual machine
    onnx: tuple[str, ...] = ()
    seconds: float = 0.0

    def package(self, name: str) -> Package | None:
        """Return what is known of a package, None where it was not looked for."""
        return next((each for each in self.packages if each.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """The golden clip on one way in one precision, beside the CPU's result."""

    engine: Engine
    device: Kind
    precision: Precision = PLAIN
    seconds: float = 0.0
    snr: float | None = None  # dB of the worst stem against the CPU's; None: nothing to compare
    fault: str = ""
    refused: str = ""  # why this precision is not there, which is no fault
    name: str = ""  # of the device, for people


@dataclass(frozen=True, slots=True, kw_only=True)
class Ray:
    """What is here of Ray. No cluster is asked, no token is read."""

    version: str = ""  # of the package beside the launcher; empty: there is none
    command: str = ""  # `ray`, where that is of another environment
    command_version: str = ""
    command_python: str = ""  # minor version: 3.12
    has_token: bool = False  # one is in the environment, or in a file
    file: str = ""  # that holds the token
    file_mode: int | None = None  # its permissions
    shared_memory: int | None = None  # bytes that are free in /dev/shm
    temporary: str = ""  # the folder in which `ray start` makes its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A network file system that an output is on."""

    where: str  # who names the output: SEP_OUT, config.toml, the current folder
    point: str
    kind: str  # nfs, nfs4 or lustre
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """An object store that runs write to by default."""

    where: str  # who names it: SEP_OUT, config.toml
    url: str
    missing: str = ""  # packages that it needs and that are not here


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is known. What was not looked at is None or empty, and no rule fires on it."""

    host: Host
    graphics: Graphics = field(default_factory=Graphics)
    disks: tuple[Disk, ...] = ()
    weights: tuple[Weights, ...] = ()
    recorded: Recorded = field(default_factory=Recorded)
    answers: Answers | None = None  # None: not asked (yet)
    tried: tuple[Tried, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()  # of the environment, those that change something
    docker_command: str = ""  # where the docker command lies, its links followed
    avx2: bool | None = None
    python: str = ""  # of the launcher, its minor version: 3.12
    looked_far: bool = False  # whether it is known what there is of Ray
    ray: Ray | None = None  # None: not looked at, or nothing is here of it
    mounts: tuple[Mount, ...] = ()
    stores: tuple[Store, ...] = ()
    said: str = ""  # the message that a run ended with

    def variable(self, name: str) -> str:
        """Return a variable of the environment, empty where it is not set."""
        return dict(self.variables).get(name, "")

    def heard(self, *words: str) -> str | None:
        """Return the line in which one of the words stands, whoever said it."""
        told = [self.said, self.graphics.smi]
        if self.host.docker:
            told.append(self.host.docker.fault)
        if self.answers:
            told += [self.answers.fault, self.answers.cuda_fault, self.answers.mps_fault]
        told += [each.fault for each in self.tried]
        for line in "\n".join(told).splitlines():
            if any(each.lower() in line.lower() for each in words):
                return line.strip()
        return None

    @property
    def route(self) -> Route | None:
        """The way that a run would take, None where there is none."""
        try:
            return routes.choose(self.host)
        except SepError:
            return None

    @property
    def native_is_used(self) -> bool:
        """Say whether runs go through the native environment."""
        route = self.route
        return route is not None and route.ready and route.engine == "native"

    def told(self, message: str) -> Evidence:
        """Return the evidence of a run that ended with this message, apart from the machine's."""
        native = self.host.native or Native(python="", source="own")
        host = replace(self.host, docker=None, native=native)
        # Where the docker command lies says something only to a run that missed an engine.
        command = self.docker_command if routes.NO_ENGINE in message else ""
        return replace(self, host=host, said=message, docker_command=command)
