"""Facts about this machine. Every probe is bounded in time, none raises, none decides."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sep_launcher.machine import disk, docker_probe, facts, paths
from sep_launcher.machine.host import Docker, Gpu, Host, Native, System
from sep_protocol.version import __version__

if TYPE_CHECKING:
    from sep_launcher.machine.facts import Facts

# Of its driver, on Linux and in WSL.
NVIDIA = ("/proc/driver/nvidia", "/dev/nvidiactl", "/dev/dxg")
SMI_SECONDS = 10.0  # a GPU that sleeps takes seconds to answer
SYSTEMS: dict[str, System] = {"Darwin": "macos", "Windows": "windows"}


def probe(*, ask_torch: bool = False) -> Host:
    """Return what this machine has; `ask_torch`: also what torch is for where no GPU is seen."""
    with ThreadPoolExecutor(2) as pool:
        asked_gpus, asked_docker = pool.submit(gpus), pool.submit(docker_probe.probe)
        recorded = facts.read()
        kind, version = system()
        rosetta = kind == "macos" and _sysctl("sysctl.proc_translated") == "1"
        found = asked_gpus.result()
        machine = facts.fingerprint(kind, version, found)
        return Host(
            system=kind,
            version=version,
            arm=rosetta or platform.machine().lower() in ("arm64", "aarch64"),
            rosetta=rosetta,
            cores=cores(),
            memory=memory(),
            gpus=found,
            nvidia=any(map(disk.exists, NVIDIA)) if kind == "linux" else None,
            docker=_with_check(asked_docker.result(), recorded, machine),
            native=native(recorded, machine, ask_torch=ask_torch or bool(found)),
            in_container=_in_container(),
            batch_system=_batch_system(),
            wsl="microsoft" in platform.release().lower(),
        )


def system() -> tuple[System, str]:
    """Return the operating system and its version."""
    kind = SYSTEMS.get(platform.system(), "linux")
    return kind, platform.mac_ver()[0] if kind == "macos" else platform.release()


def gpus() -> tuple[Gpu, ...]:
    """Return the NVIDIA GPUs that `CUDA_VISIBLE_DEVICES` leaves, by `nvidia-smi`."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible in ("", "-1"):
        return ()
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return ()
    query = "--query-gpu=name,driver_version,compute_cap,memory.total,index,uuid"
    try:
        answer = subprocess.run(
            [smi, query, "--format=csv,noheader,nounits"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=SMI_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return parse_smi(answer.stdout, visible)


def parse_smi(text: str, visible: str | None = None) -> tuple[Gpu, ...]:
    """Return the GPUs in the CSV that nvidia-smi prints; lines of another form are passed over.

    `visible` is CUDA_VISIBLE_DEVICES: only the GPUs that it names, by index or UUID, in its order.
    Parts of a GPU (MIG) cannot be told apart here, so they leave all GPUs in.
    """
    found = []
    names = []
    for line in text.splitlines():
        try:
            name, driver, capability, mebibytes, index, uuid = map(str.strip, line.split(","))
            gpu = Gpu(
                name=name,
                driver=driver,
                capability=float(capability),
                memory=int(mebibytes) << 20,
            )
        except ValueError:
            continue
        found.append(gpu)
        names.append((index, uuid))
    if visible is None or "MIG-" in visible:
        return tuple(found)
    # As the driver does it: a name that does not exist ends the list.
    chosen = []
    for wanted in (each.strip() for each in visible.split(",")):
        match = [
            gpu
            for gpu, (index, uuid) in zip(found, names, strict=True)
            if wanted == index or (wanted.startswith("GPU-") and uuid.startswith(wanted))
        ]
        if not match:
            break
        chosen.append(match[0])
    return tuple(chosen)


def cores(root: Path = Path("/sys/fs/cgroup")) -> float:
    """Return how many cores may be used: affinity, and the cgroup quota where there is one."""
    count: float = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    for read in (_quota_v2, _quota_v1):
        quota = read(root)
        if quota:
            return min(count, quota)
    return count


def _quota_v2(root: Path) -> float:
    try:
        limit, period = (root / "cpu.max").read_text().split()
        return int(limit) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return 0.0


def _quota_v1(root: Path) -> float:
    try:
        limit = int((root / "cpu" / "cpu.cfs_quota_us").read_text())
        period = int((root / "cpu" / "cpu.cfs_period_us").read_text())
        return max(limit, 0) / period
    except (OSError, ValueError, ZeroDivisionError):
        return 0.0


def memory(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes of memory that may be used, the cgroup limit counted."""
    import psutil  # noqa: PLC0415 (20 ms that `sep --help` need not pay)

    total = int(psutil.virtual_memory().total)
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            return min(total, int((root / name).read_text()))
        except (OSError, ValueError):
            continue
    return total


def native(recorded: Facts, machine: str = "", *, ask_torch: bool = False) -> Native | None:
    """Return the Python that the runtime will use: the one that was named, else setup's, else ours.

    From a checkout ours goes before setup's: who works on the code wants it to run.
    """
    made = recorded.native
    torch_here = importlib.util.find_spec("torch") is not None
    found = None
    if named := os.environ.get("SEP_RUNTIME_PYTHON"):
        found = Native(python=named, source="SEP_RUNTIME_PYTHON")
    elif torch_here and paths.checkout():
        found = _own(ask_torch=ask_torch)
    elif made and made.version == __version__ and disk.exists(made.python):
        found = Native(python=made.python, source="setup")
    elif torch_here:
        found = _own(ask_torch=ask_torch)
    check = recorded.check_of(found.python, machine) if found else None
    if found is None or check is None:
        return found
    return replace(found, torch=check.torch, cuda=check.cuda, mps=check.mps, snr=check.snr)


def _own(*, ask_torch: bool) -> Native:
    torch, cuda = _own_torch() if ask_torch else (None, None)
    return Native(python=sys.executable, source="own", torch=torch, cuda=cuda)


def _with_check(docker: Docker | None, recorded: Facts, machine: str) -> Docker | None:
    """Return the endpoint with what is known of its image for CUDA."""
    if docker is None or "cuda" not in docker.images:
        return docker
    digest = docker.digests[docker.images.index("cuda")]
    check = recorded.check_of(digest, machine)
    return replace(docker, gpu=check.cuda, snr=check.snr) if check else docker


def _own_torch() -> tuple[str | None, bool | None]:
    """Return torch's version and whether it has CUDA, as its build writes it beside the package."""
    import importlib.metadata  # noqa: PLC0415 (40 ms that a machine without a GPU need not pay)

    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None, None
    local = version.partition("+")[2]
    if local:
        return version, local.startswith("cu")
    # Without a local version it is the ordinary index's build: CUDA on Linux, none on Windows.
    return version, sys.platform == "linux"


def _sysctl(name: str) -> str:
    try:
        answer = subprocess.run(
            ["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, timeout=2, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


def _in_container() -> bool:
    markers = ("/.dockerenv", "/run/.containerenv")
    return "SEP_IN_CONTAINER" in os.environ or any(disk.exists(each) for each in markers)


def _batch_system() -> str:
    if "APPTAINER_CONTAINER" in os.environ or "SINGULARITY_CONTAINER" in os.environ:
        return "Apptainer"
    return "Slurm" if "SLURM_JOB_ID" in os.environ else ""
