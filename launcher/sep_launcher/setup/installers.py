"""The commands of uv, pip and conda that make a Python environment. Pure but for finding them."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sep_launcher.setup.running import program
from sep_launcher.setup.torch_builds import numbers, table
from sep_protocol.errors import NotReadyError, PathError, UsageError

if TYPE_CHECKING:
    from sep_launcher.setup.torch_builds import Build

Kind = Literal["uv", "pip", "conda"]
RAW_BARS = (24, 1)  # the first pip that tells its progress to programs
CONDAS = ("micromamba", "mamba", "conda")  # the fastest first


@dataclass(frozen=True, slots=True, kw_only=True)
class Installer:
    """A program that makes environments."""

    kind: Kind
    program: str  # its path; for pip the Python that has venv

    @property
    def name(self) -> str:
        """What people call it."""
        return "pip" if self.kind == "pip" else Path(self.program).stem


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command, what it gives in a few words, and variables that it needs.

    `bars`: it is a pip that tells programs how much of a file is here.
    """

    what: str
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    bars: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is made, where and of what."""

    folder: Path  # of the environment
    cache: Path  # pip's, so that an interrupted download is not lost; gone afterwards
    wheel: Path
    build: Build
    wheelhouse: Path | None = None  # packages come from here alone
    offline: bool = False  # nothing is fetched
    before: Path | None = None  # the environment whose packages are in the new one already


def find(*, conda: bool = False, pip: bool = False) -> Installer:
    """Return the installer to use: uv where there is one, else venv and pip.

    Raises NotReadyError where this machine has none that can work.
    """
    if conda:
        for name in CONDAS:
            if found := program(name):
                return Installer(kind="conda", program=found)
        raise NotReadyError(
            "none of micromamba, mamba and conda was found", hint="leave out --conda"
        )
    if not pip and (uv := program("uv")):
        return Installer(kind="uv", program=uv)
    if importlib.util.find_spec("ensurepip") is None:
        raise NotReadyError(
            "this Python cannot make environments: it has no ensurepip, and uv was not found",
            hint="on Debian and Ubuntu: sudo apt install python3-venv",
        )
    newest = table().newest_python
    if sys.version_info[:2] > numbers(newest):
        raise NotReadyError(
            f"PyTorch has no builds for Python {sys.version_info[0]}.{sys.version_info[1]} yet",
            hint=f"install sep with Python {newest}, or install uv, which fetches one",
        )
    return Installer(kind="pip", program=sys.executable)


def version() -> str:
    """Return the version of Python that an environment gets, without its last number."""
    newest = table().newest_python
    ours = sys.version_info[:2]
    return newest if ours > numbers(newest) else ".".join(map(str, ours))


def python_in(folder: Path, kind: Kind) -> Path:
    """Return where an environment's Python is."""
    if os.name == "nt":
        return folder / ("python.exe" if kind == "conda" else "Scripts/python.exe")
    return folder / "bin" / "python"


def steps(installer: Installer, recipe: Recipe) -> list[Step]:
    """Return the commands that make the environment."""
    begin = {"uv": _uv_venv, "pip": _venv, "conda": _conda}[installer.kind]
    if installer.kind == "conda" and recipe.wheelhouse:
        raise UsageError("--wheelhouse holds no conda packages", hint="leave out --conda")
    torch = recipe.build.requirement
    index = (
        () if recipe.wheelhouse or not recipe.build.index else ("--index-url", recipe.build.index)
    )
    install = _install(installer, recipe)
    # Indexes and folders that pip is set up with on this host are not the wheelhouse.
    alone = (("PIP_CONFIG_FILE", os.devnull),) if recipe.wheelhouse or recipe.offline else ()
    bars = _tells_progress(installer, recipe)
    # Its own requirement on torch must not replace the build that was chosen.
    own = (*install, f"{recipe.wheel}[runtime]", torch)
    last = Step(what="sep and what it needs", command=own, environment=alone, bars=bars)
    if recipe.before:
        return [begin(installer, recipe), last]
    # That index has more than PyTorch; the rest shall come from where all packages come from.
    command = (*install, "--no-deps", *index, torch)
    first = Step(what="PyTorch", command=command, environment=alone, bars=bars)
    return [begin(installer, recipe), first, last]


def _tells_progress(installer: Installer, recipe: Recipe) -> bool:
    if installer.kind != "pip" or recipe.before:
        return False
    import ensurepip  # noqa: PLC0415 (uv does without)

    return numbers(ensurepip.version()) >= RAW_BARS


def _venv(installer: Installer, recipe: Recipe) -> Step:
    command = [installer.program, "-I", "-m", "venv", "--clear", str(recipe.folder)]
    if recipe.before:  # its pip comes along
        command.insert(-1, "--without-pip")
    return Step(what="a Python environment", command=tuple(command))


def _uv_venv(installer: Installer, recipe: Recipe) -> Step:
    python = version() if sys.version_info[:2] > numbers(version()) else sys.executable
    command = [installer.program, "venv", "--quiet", "--clear", "--no-project"]
    command += ["--python", python, str(recipe.folder)]
    return Step(what="a Python environment", command=tuple(command))


def _conda(installer: Installer, recipe: Recipe) -> Step:
    # The pip part of environment.yml is ours to do: torch first, from its own index.
    head = environment_file().read_text(encoding="utf-8").partition("  - pip:\n")[0]
    file = recipe.cache / "environment.yml"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(head, encoding="utf-8")
    except OSError as fault:
        raise PathError(f"{file} cannot be written: {fault.strerror}") from fault
    verb = ("create",) if installer.name == "micromamba" else ("env", "create")
    command = (installer.program, *verb, "--yes", "--prefix", str(recipe.folder))
    return Step(what="a conda environment", command=(*command, "--file", str(file)))


def environment_file() -> Path:
    """Return `environment.yml`: in the package, or in the checkout it is installed from."""
    inside = Path(__file__).with_name("environment.yml")
    return inside if inside.exists() else Path(__file__).parents[3] / "environment.yml"


def _install(installer: Installer, recipe: Recipe) -> tuple[str, ...]:
    python = str(python_in(recipe.folder, installer.kind))
    if installer.kind == "uv":
        command = [installer.program, "pip", "install", "--python", python]
    else:
        command = [python, "-I", "-m", "pip", "install", "--disable-pip-version-check"]
        # As with uv: the check compiles what a run imports; all of it would take 150 MB.
        command += ["--no-compile", "--cache-dir", str(recipe.cache / "pip")]
    if recipe.wheelhouse or recipe.offline:
        command += ["--offline" if installer.kind == "uv" else "--isolated"]
    if recipe.wheelhouse:
        command += ["--no-index", "--find-links", str(recipe.wheelhouse)]
    elif recipe.offline and installer.kind != "uv":  # that has a cache
        command += ["--no-index"]
    return tuple(command)
