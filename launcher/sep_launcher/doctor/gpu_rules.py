"""Rules about GPUs: seen, usable, and supported at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sep_launcher.doctor.rule import rule
from sep_launcher.setup import torch_builds
from sep_launcher.setup.torch_builds import numbers
from sep_launcher.show.finding import Fix, Group

if TYPE_CHECKING:
    from sep_launcher.doctor.evidence import Evidence

GIB = 1 << 30
LITTLE_MEMORY = 4 * GIB
SLOW = "speed: the CPU is used"
DRIVERS = "https://www.nvidia.com/drivers"
UPDATE_DRIVER = Fix(
    linux="install the newest NVIDIA driver (Ubuntu: sudo ubuntu-drivers install), then restart",
    windows=f"install the newest driver from {DRIVERS}, then restart",
    macos="NVIDIA has no drivers for this macOS",
)


@rule(Group.GPU, "warning", breaks=SLOW, fix=UPDATE_DRIVER)
def nvidia_without_driver(evidence: Evidence) -> str | None:
    """There is an NVIDIA card, but its driver is not loaded."""
    graphics = evidence.graphics
    if "nvidia" in graphics.vendors and not graphics.driver and not evidence.host.gpus:
        return "the card is on the bus, the kernel module is not loaded (nouveau, or none)"
    return None


@rule(
    Group.GPU,
    "warning",
    breaks=SLOW,
    fix="install the package with nvidia-smi (Debian: nvidia-smi, Ubuntu: nvidia-utils-VERSION)",
)
def nvidia_smi_missing(evidence: Evidence) -> str | None:
    """NVIDIA's driver is loaded, but nvidia-smi is missing."""
    graphics = evidence.graphics
    if graphics.driver and not graphics.smi_here and graphics.hidden not in ("", "-1"):
        return f"driver {graphics.driver}"
    return None


@rule(
    Group.GPU,
    "error",
    breaks="the GPU: the driver's two halves have different versions, usually after an update",
    fix="restart the computer",
)
def nvidia_driver_mixed(evidence: Evidence) -> str | None:
    """NVIDIA's kernel module and libraries do not match."""
    return evidence.heard(
        "Driver/library version mismatch", "forward compatibility was attempted on non supported"
    )


@rule(Group.GPU, "error", breaks=SLOW, fix=UPDATE_DRIVER)
def nvidia_smi_fails(evidence: Evidence) -> str | None:
    """The command nvidia-smi does not work."""
    said = evidence.graphics.smi
    if not said or nvidia_driver_mixed.detect(evidence) or nvidia_selinux.detect(evidence):
        return None
    return said


@rule(
    Group.GPU,
    "error",
    breaks="the GPU: SELinux keeps it from programs and containers",
    fix="sudo setsebool -P container_use_devices 1",
)
def nvidia_selinux(evidence: Evidence) -> str | None:
    """SELinux forbids the GPU."""
    return evidence.heard("NVML: Insufficient Permissions")


@rule(Group.GPU, "error", breaks=SLOW, fix=UPDATE_DRIVER)
def nvidia_driver_old(evidence: Evidence) -> str | None:
    """The NVIDIA driver is older than any CUDA build of PyTorch needs."""
    host = evidence.host
    oldest = _oldest_driver(evidence)
    if oldest and host.gpus and numbers(host.gpus[0].driver) < numbers(oldest):
        return f"driver {host.gpus[0].driver}, {oldest} is needed"
    return evidence.heard(
        "NVIDIA driver on your system is too old", "unsatisfied condition: cuda>="
    )


@rule(
    Group.GPU,
    "warning",
    breaks=f"{SLOW}, or one of the GPUs if you name it",
    fix=Fix(
        everywhere="CUDA_VISIBLE_DEVICES=0 sep setup --repair",
        windows="$env:CUDA_VISIBLE_DEVICES=0; sep setup --repair",
    ),
)
def gpu_without_kernels(evidence: Evidence) -> str | None:
    """No build of PyTorch has kernels for all of these GPUs."""
    host = evidence.host
    if not host.gpus or nvidia_driver_old.detect(evidence):
        return evidence.heard("no kernel image is available")
    choice = torch_builds.choose(host) if host.system != "macos" else None
    return choice.reason if choice and not choice.build.cuda else None


@rule(
    Group.GPU,
    "warning",
    breaks=f"{SLOW}; no program sees the GPUs that are left out",
    fix=Fix(
        everywhere="unset CUDA_VISIBLE_DEVICES", windows="Remove-Item Env:CUDA_VISIBLE_DEVICES"
    ),
)
def gpu_hidden(evidence: Evidence) -> str | None:
    """CUDA_VISIBLE_DEVICES hides every NVIDIA GPU."""
    graphics = evidence.graphics
    if graphics.hidden is None or evidence.host.gpus:
        return None
    if not (graphics.driver or graphics.smi_here):
        return None
    return f"CUDA_VISIBLE_DEVICES={graphics.hidden!r}"


@rule(
    Group.GPU,
    "warning",
    breaks="the large models, perhaps; the bundled one needs 1 GiB",
    fix="--batch 1 needs least; --device cpu has no such limit",
)
def gpu_memory_small(evidence: Evidence) -> str | None:
    """The GPU has little memory."""
    small = [gpu for gpu in evidence.host.gpus if gpu.memory < LITTLE_MEMORY]
    return ", ".join(f"{gpu.name}: {gpu.memory / GIB:.1f} GiB" for gpu in small) or None


@rule(
    Group.GPU,
    "error",
    breaks="this run",
    fix="--batch 1, or --device cpu; close other programs that use the GPU",
)
def gpu_memory_full(evidence: Evidence) -> str | None:
    """The GPU ran out of memory."""
    return evidence.heard(
        "CUDA out of memory", "MPS backend out of memory", "cudaErrorMemoryAllocation"
    )


@rule(
    Group.GPU,
    "warning",
    breaks=f"{SLOW}, as sep supports NVIDIA GPUs and Apple's and no others so far",
    fix="nothing to fix: sep runs on the CPU",
)
def gpu_not_supported(evidence: Evidence) -> str | None:
    """This GPU is not supported (AMD, Intel, Jetson)."""
    if evidence.graphics.board:
        return evidence.graphics.board
    if evidence.host.gpus or evidence.host.apple_gpu or "nvidia" in evidence.graphics.vendors:
        return None
    other = [each for each in evidence.graphics.vendors if each in ("amd", "intel")]
    return " and ".join({"amd": "AMD", "intel": "Intel"}[each] for each in other) or None


@rule(
    Group.GPU,
    "error",
    breaks="the GPU under WSL: a Linux driver has replaced the library that Windows lends",
    fix="sudo apt-get purge '*nvidia*', then in PowerShell: wsl --shutdown",
)
def wsl_linux_driver(evidence: Evidence) -> str | None:
    """A Linux NVIDIA driver is installed inside WSL."""
    library = evidence.graphics.wsl_library
    if evidence.host.wsl and library and not library.startswith("/usr/lib/wsl/"):
        return f"libcuda.so.1 is {library}"
    return None


@rule(
    Group.GPU,
    "error",
    breaks=SLOW,
    fix=Fix(
        linux="sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm",
        everywhere="restart the computer",
    ),
)
def cuda_lost(evidence: Evidence) -> str | None:
    """CUDA stopped working, as it can after the computer slept."""
    return evidence.heard("CUDA unknown error", "cudaErrorUnknown")


@rule(
    Group.GPU,
    "warning",
    breaks="nothing yet; the system may kill programs when memory is short",
    fix="unset PYTORCH_MPS_HIGH_WATERMARK_RATIO",
)
def mps_without_limit(evidence: Evidence) -> str | None:
    """PYTORCH_MPS_HIGH_WATERMARK_RATIO takes Metal's memory limit away."""
    value = evidence.variable("PYTORCH_MPS_HIGH_WATERMARK_RATIO")
    return value if value.strip() in ("0", "0.0") and evidence.host.apple_gpu else None


def _oldest_driver(evidence: Evidence) -> str:
    host = evidence.host
    rows = [row for row in torch_builds.table().build if row.system == host.system and row.cuda]
    return min((row.driver for row in rows), key=numbers, default="")


RULES = (
    nvidia_without_driver,
    nvidia_smi_missing,
    nvidia_driver_mixed,
    nvidia_smi_fails,
    nvidia_selinux,
    nvidia_driver_old,
    gpu_without_kernels,
    gpu_hidden,
    gpu_memory_small,
    gpu_memory_full,
    gpu_not_supported,
    wsl_linux_driver,
    cuda_lost,
    mps_without_limit,
)
