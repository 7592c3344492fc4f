"""Rules about the computer itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sep_launcher.doctor.library_rules import QUARANTINED
from sep_launcher.doctor.rule import rule
from sep_launcher.planning.route import ROSETTA_FIX
from sep_launcher.setup.torch_builds import numbers
from sep_launcher.show.finding import Fix, Group

if TYPE_CHECKING:
    from sep_launcher.doctor.evidence import Evidence

GIB = 1 << 30
LITTLE_MEMORY = 3 * GIB
WSL_MEMORY = 6 * GIB


@rule(
    Group.HOST,
    "error",
    breaks="every run: PyTorch for Metal needs an arm64 Python",
    fix=ROSETTA_FIX,
)
def rosetta(evidence: Evidence) -> str | None:
    """This Python is an Intel one, translated by Rosetta."""
    if evidence.host.rosetta or evidence.heard("runs under Rosetta"):
        return "an Intel Python on an Apple processor"
    return None


@rule(
    Group.HOST,
    "error",
    breaks="native runs: PyTorch has no builds for Intel Macs any more",
    fix="install Docker Desktop, then: sep setup --engine container",
)
def intel_mac(evidence: Evidence) -> str | None:
    """An Intel Mac without Docker."""
    host = evidence.host
    if host.system == "macos" and not host.arm and host.docker is None:
        return "no Docker engine was found"
    return evidence.heard("PyTorch has no builds for Intel Macs", "PyTorch has no builds for macOS")


@rule(
    Group.HOST,
    "warning",
    breaks="the choice of PyTorch: it takes this system for one of 2020 or before",
    fix="unset SYSTEM_VERSION_COMPAT, or use a Python from python.org, Homebrew or uv",
)
def macos_version_hidden(evidence: Evidence) -> str | None:
    """This Python is told an old macOS version."""
    host = evidence.host
    if host.system == "macos" and host.arm and numbers(host.version)[:1] == (10,):
        return f"it says macOS {host.version} on an Apple processor"
    return None


@rule(
    Group.HOST,
    "warning",
    breaks="long or large models: the bundled model takes about 0.6 GiB, the large ones 2 to 4",
    fix="close other programs; --batch 1 needs least",
)
def little_memory(evidence: Evidence) -> str | None:
    """There is little memory."""
    memory = evidence.host.memory
    return f"{memory / GIB:.1f} GiB may be used" if 0 < memory < LITTLE_MEMORY else None


@rule(
    Group.HOST,
    "warning",
    breaks="large models: WSL gives Linux half of the computer's memory",
    fix="in %UserProfile%\\.wslconfig: [wsl2] memory=12GB, then in PowerShell: wsl --shutdown",
)
def wsl_memory(evidence: Evidence) -> str | None:
    """WSL has little memory."""
    host = evidence.host
    if host.wsl and 0 < host.memory < WSL_MEMORY:
        return f"{host.memory / GIB:.1f} GiB"
    return None


@rule(
    Group.HOST,
    "warning",
    breaks="the GPU, and speed: WSL 1 has no GPU",
    fix="in PowerShell: wsl --set-version DISTRIBUTION 2",
)
def wsl_one(evidence: Evidence) -> str | None:
    """This is WSL 1."""
    host = evidence.host
    # WSL 2 says 5.15.153.1-microsoft-standard-WSL2, WSL 1 says 4.4.0-19041-Microsoft.
    return host.version if host.wsl and host.version.endswith("-Microsoft") else None


@rule(
    Group.HOST,
    "warning",
    breaks="speed: PyTorch's CPU kernels are written for AVX2",
    fix="take a computer from 2014 or later, or give the virtual machine its host's processor",
)
def no_avx2(evidence: Evidence) -> str | None:
    """This processor has no AVX2."""
    return "its flags do not name avx2" if evidence.avx2 is False else None


@rule(
    Group.HOST,
    "warning",
    breaks="speed on the CPU",
    fix="give the container or job more cores",
)
def one_core(evidence: Evidence) -> str | None:
    """Only one core may be used."""
    cores = evidence.host.cores
    return f"{cores:g}" if cores < 2 else None  # noqa: PLR2004


@rule(
    Group.HOST,
    "error",
    breaks="every run: PyTorch needs instructions that this processor does not have",
    fix="take --engine native with an environment made on this machine: sep setup --repair",
)
def illegal_instruction(evidence: Evidence) -> str | None:
    """The runtime was ended by an illegal instruction."""
    return evidence.heard("ended by signal 4", "code 132", "illegal instruction")


@rule(
    Group.HOST,
    "error",
    breaks="this run: the system ended it, usually because memory ran out",
    fix="close other programs, then again with --batch 1, and with fewer workers (-j)",
)
def killed(evidence: Evidence) -> str | None:
    """The runtime was killed from outside."""
    said = evidence.heard("ended by signal 9", "code 137")
    return None if said and QUARANTINED in said else said  # --batch 1 has been tried there


@rule(
    Group.HOST,
    "warning",
    breaks="the runtime's Python: it looks for packages there first",
    fix=Fix(
        everywhere="unset PYTHONPATH PYTHONHOME",
        windows="Remove-Item Env:PYTHONPATH, Env:PYTHONHOME",
    ),
)
def python_variables(evidence: Evidence) -> str | None:
    """PYTHONPATH or PYTHONHOME is set."""
    native = evidence.host.native
    if native is None or native.source == "setup":  # its Python is started without them
        return None
    named = [
        f"{name}={value}"
        for name in ("PYTHONPATH", "PYTHONHOME")
        if (value := evidence.variable(name))
    ]
    return " ".join(named) or None


RULES = (
    rosetta,
    intel_mac,
    macos_version_hidden,
    little_memory,
    wsl_memory,
    wsl_one,
    no_avx2,
    one_core,
    illegal_instruction,
    killed,
    python_variables,
)
