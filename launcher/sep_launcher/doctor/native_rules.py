"""Rules about the runtime's Python and what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sep_launcher.doctor.rule import REPAIR_HERE, rule
from sep_launcher.setup.torch_builds import numbers
from sep_launcher.show.finding import Fix, Group
from sep_protocol.version import __version__

if TYPE_CHECKING:
    from sep_launcher.doctor.evidence import Evidence

NATIVE = "native runs"
OLDEST_PYTHON = (3, 11)
TORCH = ((2, 6), (2, 14))  # from, and before
# Modules that the runtime cannot do without.
NEEDED = ("numpy", "soundfile", "soxr", "av", "safetensors", "yaml", "sep_runtime")
# As a process of this system ends by SIGABRT, SIGBUS and SIGSEGV, and as a container tells it.
CRASHES = tuple(
    f"{how} {number + more} without"
    for how, more in (("ended by signal", 0), ("ended with code", 128))
    for number in (6, 7, 11)
)
CANNOT_START = "cannot be started"
# How libraries say, mostly while they are loaded, that they got no memory.
NO_MEMORY = (
    "failed to map segment",
    "bad_alloc",
    "can't allocate memory",
    "Memory allocation still failed",
    "Cannot allocate memory",
)


@rule(Group.NATIVE, "error", breaks="every run", fix="sep setup")
def nothing_set_up(evidence: Evidence) -> str | None:
    """Neither an environment nor an image is set up."""
    route = evidence.route
    fresh = not (evidence.recorded.python or evidence.host.native)
    if route and not route.ready and route.engine == "native" and fresh:
        return f"runs would be {route.engine} {route.device}"
    return evidence.heard("no Python environment with torch is set up")


@rule(Group.NATIVE, "error", breaks=NATIVE, fix="sep setup")
def environment_stale(evidence: Evidence) -> str | None:
    """The environment was made by another version of sep."""
    recorded = evidence.recorded
    if recorded.version and evidence.host.native is None and recorded.exists:
        return f"it has sep {recorded.version}"
    ours = evidence.answers.package("sep_runtime") if evidence.answers else None
    if ours and ours.version not in ("", __version__):
        return f"it has sep {ours.version}, this is {__version__}"
    said = evidence.heard("(protocol ")
    return said if said and "the image for" not in said else None


@rule(Group.NATIVE, "error", breaks=NATIVE, fix="sep setup")
def environment_gone(evidence: Evidence) -> str | None:
    """The environment that setup made is gone."""
    recorded = evidence.recorded
    if recorded.python and not recorded.exists and evidence.host.native is None:
        return f"there is no {recorded.python}"
    return None


@rule(
    Group.NATIVE,
    "warning",
    breaks="what sep remembers of this machine",
    fix="sep setup; if it cannot write that file, remove it first",
)
def facts_damaged(evidence: Evidence) -> str | None:
    """The file of recorded facts cannot be used."""
    return evidence.recorded.fault or None


@rule(
    Group.NATIVE,
    "error",
    breaks="every native run",
    fix=Fix(everywhere="unset SEP_RUNTIME_PYTHON", windows="Remove-Item Env:SEP_RUNTIME_PYTHON"),
)
def runtime_python_missing(evidence: Evidence) -> str | None:
    """SEP_RUNTIME_PYTHON names no Python."""
    native, answers = evidence.host.native, evidence.answers
    if native and native.source == "SEP_RUNTIME_PYTHON" and answers and _unstarted(answers.fault):
        return answers.fault
    said = evidence.heard(CANNOT_START)
    return said if said and evidence.variable("SEP_RUNTIME_PYTHON") else None


@rule(
    Group.NATIVE,
    "error",
    breaks="native runs, from this shell at least",
    fix=Fix(
        everywhere="close other programs; where this shell has a limit: ulimit -v unlimited",
        windows="close other programs, or let Windows choose the size of its paging file",
    ),
)
def memory_refused(evidence: Evidence) -> str | None:
    """There is too little memory to load the libraries."""
    faults = [each.fault for each in evidence.answers.packages] if evidence.answers else []
    found = next((each for each in faults if _is_no_memory(each)), None)
    said = evidence.heard(*NO_MEMORY)
    return found or (said if said and _is_no_memory(said) else None)


@rule(Group.NATIVE, "error", breaks=NATIVE, fix=f"sep doctor; most likely: {REPAIR_HERE}")
def runtime_crashed(evidence: Evidence) -> str | None:
    """The runtime crashed: a library is damaged, or not made for this machine."""
    return None if memory_refused.detect(evidence) else evidence.heard(*CRASHES)


@rule(Group.NATIVE, "error", breaks=NATIVE, fix=REPAIR_HERE)
def environment_broken(evidence: Evidence) -> str | None:
    """The environment's Python does not start."""
    answers = evidence.answers
    if runtime_python_missing.detect(evidence):
        return None
    if answers and answers.fault:
        return answers.fault
    return evidence.heard(CANNOT_START)


@rule(
    Group.NATIVE,
    "error",
    breaks=NATIVE,
    fix="install Python 3.11 or newer and name it, or unset SEP_RUNTIME_PYTHON and: sep setup",
)
def python_old(evidence: Evidence) -> str | None:
    """The runtime's Python is older than 3.11."""
    answers = evidence.answers
    if answers and answers.python and numbers(answers.python)[:2] < OLDEST_PYTHON:
        return f"Python {answers.python} in {_where(evidence)}"
    return evidence.heard("is older than Python 3.11", "SyntaxError")


@rule(
    Group.NATIVE,
    "error",
    breaks=NATIVE,
    fix=REPAIR_HERE,
)
def environment_incomplete(evidence: Evidence) -> str | None:
    """Packages are missing from the environment."""
    answers = evidence.answers
    if answers and not answers.fault and not python_old.detect(evidence):
        found = [answers.package(name) for name in NEEDED]
        faults = [
            f"{each.name}: {each.fault}"
            for each in found
            if each and each.fault and not _is_no_memory(each.fault)
        ]
        return "; ".join(faults) or None
    return evidence.heard("environment is not complete", "cannot run sep: ")


@rule(Group.NATIVE, "error", breaks=NATIVE, fix=REPAIR_HERE)
def torch_missing(evidence: Evidence) -> str | None:
    """There is no PyTorch in the environment."""
    fault = _torch_fault(evidence)
    return fault if fault and "No module named" in fault else None


@rule(Group.NATIVE, "error", breaks=NATIVE, fix=REPAIR_HERE)
def torch_not_importable(evidence: Evidence) -> str | None:
    """PyTorch is installed but cannot be imported."""
    fault = _torch_fault(evidence)
    if "No module named" in fault or _is_no_memory(fault):
        return None
    return fault or None


@rule(
    Group.NATIVE,
    "warning",
    breaks="nothing: this range is what sep is tested with",
    fix="{python} -m pip install 'torch>=2.6,<2.14', or: sep setup --repair",
)
def torch_untested(evidence: Evidence) -> str | None:
    """This version of PyTorch is untested."""
    torch = evidence.answers.package("torch") if evidence.answers else None
    if torch is None or not torch.version:
        return None
    oldest, after = TORCH
    return None if oldest <= numbers(torch.version)[:2] < after else f"torch {torch.version}"


@rule(
    Group.NATIVE,
    "warning",
    breaks="nothing of sep; other programs in this environment that import torchaudio",
    fix="{python} -m pip uninstall torchaudio, or install the build that belongs to its torch",
)
def torchaudio_of_another_torch(evidence: Evidence) -> str | None:
    """The torchaudio here belongs to another build of PyTorch."""
    torchaudio = evidence.answers.package("torchaudio") if evidence.answers else None
    return torchaudio.fault or None if torchaudio else None


@rule(
    Group.NATIVE,
    "warning",
    breaks="nothing of sep; other programs here that use ONNX run on the CPU",
    fix="{python} -m pip uninstall onnxruntime",
)
def onnx_twice(evidence: Evidence) -> str | None:
    """The package onnxruntime hides onnxruntime-gpu."""
    onnx = evidence.answers.onnx if evidence.answers else ()
    return " and ".join(onnx) if {"onnxruntime", "onnxruntime-gpu"} <= set(onnx) else None


@rule(Group.NATIVE, "warning", breaks="speed: a faster way is not set up", fix="sep setup")
def faster_way(evidence: Evidence) -> str | None:
    """A faster way is not set up."""
    route = evidence.route
    return route.reason if route and route.ready and "would be faster" in route.reason else None


def _is_no_memory(fault: str) -> bool:
    # The dynamic linker's room for thread-local storage is its own: no memory widens it.
    words = fault.lower()
    return "static tls" not in words and any(each.lower() in words for each in NO_MEMORY)


def _unstarted(fault: str) -> bool:
    return CANNOT_START in fault


def _where(evidence: Evidence) -> str:
    return evidence.host.native.python if evidence.host.native else "the environment"


def _torch_fault(evidence: Evidence) -> str:
    answers = evidence.answers
    if answers is None or python_old.detect(evidence):
        return ""
    torch = answers.package("torch")
    return torch.fault if torch else ""


RULES = (
    nothing_set_up,
    environment_stale,
    environment_gone,
    facts_damaged,
    runtime_python_missing,
    memory_refused,
    runtime_crashed,
    environment_broken,
    python_old,
    environment_incomplete,
    torch_missing,
    torch_not_importable,
    torch_untested,
    torchaudio_of_another_torch,
    onnx_twice,
    faster_way,
)
