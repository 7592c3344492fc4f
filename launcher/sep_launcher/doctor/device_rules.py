"""Rules about PyTorch and its devices: CUDA, Metal, and what --deep has tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sep_launcher.doctor.rule import REPAIR_HERE, rule
from sep_launcher.machine.host import Snr
from sep_launcher.planning.precisions import ENOUGH, PLAIN, not_passed
from sep_launcher.setup.torch_builds import table
from sep_launcher.show.finding import Fix, Group

if TYPE_CHECKING:
    from sep_launcher.doctor.evidence import Evidence, Tried

EXACT = 60.0  # dB beside the CPU's result: rounding alone
MISSING_LIBRARY = ("cannot open shared object file", "DLL load failed", "Library not loaded")


@rule(Group.NATIVE, "error", breaks="the GPU natively", fix="sep setup --repair")
def torch_without_cuda(evidence: Evidence) -> str | None:
    """There is an NVIDIA GPU, but this PyTorch was built without CUDA."""
    host, answers = evidence.host, evidence.answers
    torch = answers.package("torch") if answers else None
    if not host.gpus or torch is None or not torch.version or (answers and answers.cuda):
        return None
    rows = [row for row in table().build if row.system == host.system and row.cuda]
    return f"torch {torch.version}" if rows else None


@rule(Group.NATIVE, "error", breaks="the GPU natively", fix=REPAIR_HERE)
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
    """PyTorch finds no GPU, though nvidia-smi shows one."""
    answers = evidence.answers
    if evidence.host.gpus and answers and answers.cuda and answers.cuda_available is False:
        return answers.cuda_fault or "torch.cuda.is_available() is False"
    return None


@rule(Group.NATIVE, "error", breaks="the GPU natively", fix=REPAIR_HERE)
def cudnn_missing(evidence: Evidence) -> str | None:
    """A library of CUDA is missing or of another version."""
    said = evidence.heard("libcudnn", "libcublas", "cudnn")
    return said if said and any(each in said for each in (*MISSING_LIBRARY, "version")) else None


@rule(Group.NATIVE, "error", breaks="the Apple GPU", fix=REPAIR_HERE)
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
    """PyTorch finds no Apple GPU."""
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
    found = [each for each in _plain(evidence) if each.snr is not None and each.snr < ENOUGH]
    return _ways(found)


@rule(
    Group.DEVICES,
    "warning",
    breaks="nothing that can be heard",
    fix="report it, please, with: sep doctor --deep --bundle report.json",
)
def device_inexact(evidence: Evidence) -> str | None:
    """A device is less exact than rounding explains."""
    found = [
        each for each in _plain(evidence) if each.snr is not None and ENOUGH <= each.snr < EXACT
    ]
    return _ways(found)


@rule(
    Group.DEVICES,
    "error",
    breaks="every run on that way",
    fix="--verbose says more; sep setup --repair",
)
def way_fails(evidence: Evidence) -> str | None:
    """A way that is set up cannot separate the golden clip."""
    faults = [
        f"{each.engine} {each.device}: {each.fault}" for each in _plain(evidence) if each.fault
    ]
    return "; ".join(faults) or None


@rule(
    Group.DEVICES,
    "warning",
    breaks="nothing: runs take fp32 there, which is slower",
    fix=Fix(
        macos="update macOS, then: sep doctor --deep; until then --precision fp32 is taken",
        everywhere="update the GPU's driver, then: sep doctor --deep; until then --precision fp32 "
        "is taken",
    ),
)
def precision_not_good(evidence: Evidence) -> str | None:
    """A GPU gives other stems in half precision, or fails in it.

    On the CPU nobody gets a lower precision who does not name it, so that is told and no finding.
    """
    found = []
    for engine, measured in _measured(evidence).items():
        for each in not_passed(measured):
            close = "it fails" if each.decibels is None else f"{each.decibels:.0f} dB"
            if each.device != "cpu":
                found.append(f"{engine} {each.device} {each.precision}: {close}")
    return "; ".join(found) or None


def _measured(evidence: Evidence) -> dict[str, tuple[Snr, ...]]:
    """Return what is known of precisions by engine: tried just now, else by setup or before."""
    host = evidence.host
    if not evidence.tried:
        found = {"native": host.native, "container": host.docker}
        return {engine: where.snr for engine, where in found.items() if where}
    measured: dict[str, tuple[Snr, ...]] = {}
    for each in evidence.tried:
        if not each.refused:
            snr = Snr(device=each.device, precision=each.precision, decibels=each.snr)
            measured[each.engine] = (*measured.get(each.engine, ()), snr)
    return measured


def _plain(evidence: Evidence) -> list[Tried]:
    return [each for each in evidence.tried if each.precision == PLAIN]


def _ways(found: list[Tried]) -> str | None:
    return "; ".join(f"{each.engine} {each.device}: {each.snr:.0f} dB" for each in found) or None


RULES = (
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
    precision_not_good,
)
