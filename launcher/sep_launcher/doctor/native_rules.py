"""Rules about the runtime's Python and what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sep_launcher.doctor.rule import Fix, Group, rule
from sep_launcher.setup.torch_builds import numbers, table
from sep_protocol.version import __version__

if TYPE_CHECKING:
    from sep_launcher.doctor.evidence import Evidence, Tried

NATIVE = "native runs"
REPAIR = "{repair}"
OLDEST_PYTHON = (3, 11)
TORCH = ((2, 6), (2, 14))  # from, and before
EXACT, ENOUGH = 60.0, 40.0  # dB beside the CPU's result: rounding alone, and what nobody hears
# Modules that the runtime cannot do without.
NEEDED = ("numpy", "soundfile", "soxr", "av", "safetensors", "yaml", "sep_runtime")
# As a process of this system ends by SIGABRT, SIGBUS and SIGSEGV, and as a container tells it.
CRASHES = tuple(
    f"{how} {number + more} without"
    for how, more in (("ended by signal", 0), ("ended with code", 128))
    for number in (6, 7, 11)
)
CANNOT_START = "cannot be started"
MISSING_LIBRARY = ("cannot open shared object file", "DLL load failed", "Library not loaded")


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
    """The environment is of another sep."""
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


@rule(Group.NATIVE, "error", breaks=NATIVE, fix=f"sep doctor; most likely: {REPAIR}")
def runtime_crashed(evidence: Evidence) -> str | None:
    """The runtime crashed: a library is damaged, or not made for this machine."""
    return evidence.heard(*CRASHES)


@rule(Group.NATIVE, "error", breaks=NATIVE, fix=REPAIR)
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
    fix=REPAIR,
)
def environment_incomplete(evidence: Evidence) -> str | None:
    """Packages are missing from the environment."""
    answers = evidence.answers
    if answers and not answers.fault and not python_old.detect(evidence):
        found = [answers.package(name) for name in NEEDED]
        faults = [f"{each.name}: {each.fault}" for each in found if each and each.fault]
        return "; ".join(faults) or None
    return evidence.heard("environment is not complete", "cannot run sep: ")


@rule(Group.NATIVE, "error", breaks=NATIVE, fix=REPAIR)
def torch_missing(evidence: Evidence) -> str | None:
    """There is no PyTorch in the environment."""
    fault = _torch_fault(evidence)
    return fault if fault and "No module named" in fault else None


@rule(Group.NATIVE, "error", breaks=NATIVE, fix=REPAIR)
def torch_not_importable(evidence: Evidence) -> str | None:
    """PyTorch is installed and cannot be imported."""
    fault = _torch_fault(evidence)
    return fault if fault and "No module named" not in fault else None


@rule(
    Group.NATIVE,
    "warning",
    breaks="nothing: this range is what sep is tested with",
    fix="{python} -m pip install 'torch>=2.6,<2.14', or: sep setup --repair",
)
def torch_untested(evidence: Evidence) -> str | None:
    """PyTorch is of an untested version."""
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


@rule(Group.NATIVE, "error", breaks="the GPU natively", fix="sep setup --repair")
def torch_without_cuda(evidence: Evidence) -> str | None:
    """There is an NVIDIA GPU, and PyTorch is a build without CUDA."""
    host, answers = evidence.host, evidence.answers
    torch = answers.package("torch") if answers else None
    if not host.gpus or torch is None or not torch.version or (answers and answers.cuda):
        return None
    rows = [row for row in table().build if row.system == host.system and row.cuda]
    return f"torch {torch.version}" if rows else None


@rule(Group.NATIVE, "error", breaks="the GPU natively", fix=REPAIR)
def torch_without_kernels(evidence: Evidence) -> str | None:
    """PyTorch has no kernels for this GPU."""
    answers = evidence.answers
    if not answers or not answers.architectures:
        return None
    known = [
        int(each.partition("_")[2].rstrip("af")) for each in answers.architectures if "_" in each
    ]
    for gpu in evidence.host.gpus:
        own = round(gpu.capability * 10)
        # Kernels run on later GPUs of the same generation; PTX, that would do more, is not counted.
        if not any(each <= own and each // 10 == own // 10 for each in known):
            return f"{gpu.name} is sm_{own}, torch has {', '.join(answers.architectures)}"
    return None


@rule(
    Group.NATIVE,
    "error",
    breaks="the GPU natively",
    fix=Fix(
        linux="sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm; if that does not help: restart",
        everywhere="restart the computer",
    ),
)
def cuda_not_available(evidence: Evidence) -> str | None:
    """PyTorch has CUDA and finds no GPU, nvidia-smi does."""
    answers = evidence.answers
    if evidence.host.gpus and answers and answers.cuda and answers.cuda_available is False:
        return answers.cuda_fault or "torch.cuda.is_available() is False"
    return None


@rule(Group.NATIVE, "error", breaks="the GPU natively", fix=REPAIR)
def cudnn_missing(evidence: Evidence) -> str | None:
    """A library of CUDA is missing or of another version."""
    said = evidence.heard("libcudnn", "libcublas", "cudnn")
    return said if said and any(each in said for each in (*MISSING_LIBRARY, "version")) else None


@rule(Group.NATIVE, "error", breaks="the Apple GPU", fix=REPAIR)
def torch_without_mps(evidence: Evidence) -> str | None:
    """This PyTorch was built without Metal."""
    answers = evidence.answers
    lacks = evidence.host.apple_gpu and answers is not None and answers.mps_built is False
    return "torch.backends.mps.is_built() is False" if lacks else None


@rule(
    Group.NATIVE,
    "error",
    breaks="the Apple GPU",
    fix="run it in a terminal of the desktop (not over SSH or in a sandbox); update macOS",
)
def mps_not_available(evidence: Evidence) -> str | None:
    """PyTorch has Metal and finds no GPU."""
    answers = evidence.answers
    if not (evidence.host.apple_gpu and answers and answers.mps_built):
        return None
    return "torch.backends.mps.is_available() is False" if answers.mps_available is False else None


@rule(
    Group.NATIVE,
    "warning",
    breaks="the Apple GPU: virtual machines have none that works",
    fix="--device cpu",
)
def mps_in_virtual_machine(evidence: Evidence) -> str | None:
    """This macOS runs in a virtual machine."""
    answers = evidence.answers
    return answers.mps_fault or "kern.hv_vmm_present" if answers and answers.virtual else None


@rule(Group.NATIVE, "error", breaks="the Apple GPU", fix="update macOS; until then: --device cpu")
def mps_does_not_work(evidence: Evidence) -> str | None:
    """The Apple GPU fails at its first small tensor."""
    answers = evidence.answers
    return answers.mps_fault or None if answers and not answers.virtual else None


@rule(
    Group.NATIVE,
    "error",
    breaks="this run on the Apple GPU",
    fix="unset PYTORCH_ENABLE_MPS_FALLBACK; update macOS; then: sep setup --repair",
)
def mps_operator_missing(evidence: Evidence) -> str | None:
    """Metal lacks an operation."""
    return evidence.heard(
        "not currently implemented for the MPS", "not supported at the MPS device"
    )


@rule(
    Group.DEVICES,
    "error",
    breaks="every run on that device: its stems are wrong",
    fix="--device cpu; update the driver or macOS; then: sep setup --repair",
)
def device_wrong(evidence: Evidence) -> str | None:
    """A device gives other stems than the CPU."""
    found = [each for each in evidence.tried if each.snr is not None and each.snr < ENOUGH]
    return _ways(found)


@rule(
    Group.DEVICES,
    "warning",
    breaks="nothing that can be heard",
    fix="report it, please, with: sep doctor --deep --bundle report.json",
)
def device_inexact(evidence: Evidence) -> str | None:
    """A device is less exact than rounding explains."""
    found = [each for each in evidence.tried if each.snr is not None and ENOUGH <= each.snr < EXACT]
    return _ways(found)


@rule(
    Group.DEVICES,
    "error",
    breaks="every run on that way",
    fix="--verbose says more; sep setup --repair",
)
def way_fails(evidence: Evidence) -> str | None:
    """A way that is set up cannot separate the golden clip."""
    faults = [f"{each.engine} {each.device}: {each.fault}" for each in evidence.tried if each.fault]
    return "; ".join(faults) or None


@rule(Group.NATIVE, "warning", breaks="speed: a faster way is not set up", fix="sep setup")
def faster_way(evidence: Evidence) -> str | None:
    """A faster way is not set up."""
    route = evidence.route
    return route.reason if route and route.ready and "would be faster" in route.reason else None


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


def _ways(found: list[Tried]) -> str | None:
    return "; ".join(f"{each.engine} {each.device}: {each.snr:.0f} dB" for each in found) or None


RULES = (
    nothing_set_up,
    environment_stale,
    environment_gone,
    facts_damaged,
    runtime_python_missing,
    runtime_crashed,
    environment_broken,
    python_old,
    environment_incomplete,
    torch_missing,
    torch_not_importable,
    torch_untested,
    torchaudio_of_another_torch,
    onnx_twice,
    torch_without_cuda,
    torch_without_kernels,
    cuda_not_available,
    cudnn_missing,
    torch_without_mps,
    mps_not_available,
    mps_in_virtual_machine,
    mps_does_not_work,
    mps_operator_missing,
    device_wrong,
    device_inexact,
    way_fails,
    faster_way,
)
