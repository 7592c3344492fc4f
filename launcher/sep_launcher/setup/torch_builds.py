"""Which build of PyTorch a machine gets: the table of `torch.toml`, read and asked. Pure."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sep_launcher.machine.host import System  # noqa: TC001 (the decoder reads annotations)
from sep_protocol.codec import decode
from sep_protocol.errors import NoRouteError, UsageError

if TYPE_CHECKING:
    from sep_launcher.machine.host import Gpu, Host


DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A row of the table."""

    name: str
    torch: str  # version, with its local part where the index has several builds
    system: System
    arm: bool | None = None  # None: either processor
    oldest_system: str = ""  # version
    driver: str = ""  # the oldest NVIDIA driver; empty: needs none
    capability: tuple[float, float] | None = None  # lowest and highest that it has kernels for
    index: str  # empty: the installer's own
    fetched: int  # MB
    installed: int  # MB

    @property
    def requirement(self) -> str:
        """The requirement that pip and uv understand."""
        return f"torch=={self.torch}"

    @property
    def cuda(self) -> bool:
        """Say whether it can use an NVIDIA GPU."""
        return bool(self.driver)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The file."""

    newest_python: str
    build: tuple[Build, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A build and, for people, why it is this one."""

    build: Build
    reason: str


@cache
def table() -> Table:
    """Return the table of `torch.toml`."""
    return decode(Table, tomllib.loads(Path(__file__).with_name("torch.toml").read_text()))


def choose(host: Host, named: str | None = None, index: str | None = None) -> Choice:
    """Return the build for this machine.

    `named` is a row's name, a version or a version with its local part (2.10.0+cu126); `index`
    replaces the row's, DEFAULT being the installer's own. Raises NoRouteError where PyTorch has no
    build, UsageError for a name that no row has.
    """
    rows = [row for row in table().build if _runs_on(row, host)]
    if not rows:
        raise NoRouteError(
            f"PyTorch has no builds for {_machine(host)}",
            hint="on an Intel Mac, Docker can do it: sep setup --engine container",
        )
    chosen = _named(rows, named, host) if named else _fitting(rows, host)
    if index is None:
        return chosen
    own = "" if index == DEFAULT else index
    return Choice(build=_with(chosen.build, index=own), reason=chosen.reason)


def _with(build: Build, *, torch: str | None = None, index: str | None = None) -> Build:
    from dataclasses import replace  # noqa: PLC0415

    return replace(
        build,
        torch=build.torch if torch is None else torch,
        index=build.index if index is None else index,
    )


def _runs_on(row: Build, host: Host) -> bool:
    if row.system != host.system or row.arm not in (None, host.arm):
        return False
    return not row.oldest_system or numbers(host.version) >= numbers(row.oldest_system)


def _fitting(rows: list[Build], host: Host) -> Choice:
    """Return the first row that every GPU can use; failing that, the CPU row with the reason."""
    for row in rows:
        if row.cuda and host.gpus and all(_takes(row, gpu) for gpu in host.gpus):
            return Choice(build=row, reason=_gpus(host))
    plain = next(row for row in rows if not row.cuda)
    if not host.gpus:
        found = "Apple GPU" if host.apple_gpu else "no NVIDIA GPU found"
        return Choice(build=plain, reason=found)
    return Choice(build=plain, reason=f"{_gpus(host)}: {_why_none(rows, host)}")


def _takes(row: Build, gpu: Gpu) -> bool:
    if row.capability is None or numbers(gpu.driver) < numbers(row.driver):
        return False
    low, high = row.capability
    return low <= gpu.capability <= high


def _why_none(rows: list[Build], host: Host) -> str:
    cuda = [row for row in rows if row.cuda]
    if not cuda:
        return "PyTorch has no CUDA build for this system"
    oldest = min((row.driver for row in cuda), key=numbers)
    if any(numbers(gpu.driver) < numbers(oldest) for gpu in host.gpus):
        return f"the driver is older than {oldest}, which PyTorch needs; update it"
    if len({gpu.capability for gpu in host.gpus}) > 1:
        return "no one build has kernels for all of them; CUDA_VISIBLE_DEVICES can name one"
    return f"no build has kernels for compute capability {host.gpus[0].capability:g}"


def _named(rows: list[Build], named: str, host: Host) -> Choice:
    """Return the row of that name or version, whatever the GPUs are: the user knows better."""
    reason = f"you asked for {named}"
    version, plus, local = named.partition("+")
    if not re.fullmatch(r"\d+(\.\d+)+", version):
        matching = [row for row in rows if row.name == named]
        if matching:
            return Choice(build=matching[0], reason=reason)
    elif plus:
        matching = [row for row in rows if row.name.partition("-")[0] == local]
        if matching:
            return Choice(build=_with(matching[0], torch=named), reason=reason)
    else:
        fitting = _fitting(rows, host).build
        own = fitting.torch.partition("+")[2]
        torch = f"{version}+{own}" if own else version
        return Choice(build=_with(fitting, torch=torch), reason=reason)
    names = ", ".join(dict.fromkeys(row.name for row in rows))
    raise UsageError(f"there is no torch build {named!r} for {_machine(host)}", hint=names)


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with, for comparing."""
    head = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in head.group().split(".")) if head else ()


def _gpus(host: Host) -> str:
    names = ", ".join(
        f"{gpu.name} (compute capability {gpu.capability:g})" for gpu in host.gpus[:4]
    )
    return f"{names}, driver {host.gpus[0].driver}"


def _machine(host: Host) -> str:
    system = {"macos": "macOS", "linux": "Linux", "windows": "Windows"}[host.system]
    return f"{system} on {'ARM' if host.arm else 'Intel and AMD processors'}"
