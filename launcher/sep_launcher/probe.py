"""Facts about this machine. Every probe is bounded in time, none raises, none decides."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sep_launcher import docker_probe, paths
from sep_launcher.host import Docker, Gpu, Host, Native, System

SMI_SECONDS = 10.0  # a GPU that sleeps takes seconds to answer
SYSTEMS: dict[str, System] = {"Darwin": "macos", "Windows": "windows"}


def probe() -> Host:
    """Return what this machine has."""
    with ThreadPoolExecutor(2) as pool:
        asked_gpus, asked_docker = pool.submit(gpus), pool.submit(docker_probe.probe)
        facts = _recorded()
        system = SYSTEMS.get(platform.system(), "linux")
        rosetta = system == "macos" and _sysctl("sysctl.proc_translated") == "1"
        found = asked_gpus.result()
        return Host(
            system=system,
            version=platform.mac_ver()[0] if system == "macos" else platform.release(),
            arm=rosetta or platform.machine().lower() in ("arm64", "aarch64"),
            rosetta=rosetta,
            cores=cores(),
            memory=memory(),
            gpus=found,
            docker=_with_facts(asked_docker.result(), facts),
            native=_native(facts, ask_torch=bool(found)),
            in_container=_in_container(),
            batch_system=_batch_system(),
            wsl="microsoft" in platform.release().lower(),
        )


def gpus() -> tuple[Gpu, ...]:
    """Return the NVIDIA GPUs that `CUDA_VISIBLE_DEVICES` leaves, by `nvidia-smi`."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return ()
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return ()
    query = "--query-gpu=name,driver_version,compute_cap,memory.total"
    try:
        answer = subprocess.run(
            [smi, query, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=SMI_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return parse_smi(answer.stdout)


def parse_smi(text: str) -> tuple[Gpu, ...]:
    """Return the GPUs in the CSV that nvidia-smi prints; lines of another form are passed over."""
    found = []
    for line in text.splitlines():
        try:
            name, driver, capability, mebibytes = (part.strip() for part in line.split(","))
            gpu = Gpu(
                name=name,
                driver=driver,
                capability=float(capability),
                memory=int(mebibytes) << 20,
            )
        except ValueError:
            continue
        found.append(gpu)
    return tuple(found)


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


def _native(facts: dict[str, Any], *, ask_torch: bool) -> Native | None:
    named = os.environ.get("SEP_RUNTIME_PYTHON")
    if named:
        return Native(python=named, source="SEP_RUNTIME_PYTHON")
    made = paths.native_python()
    if made.exists():
        known = facts.get("native") or {}
        return Native(
            python=str(made),
            source="setup",
            torch=known.get("torch"),
            cuda=known.get("cuda"),
            mps=known.get("mps"),
        )
    if importlib.util.find_spec("torch") is None:
        return None
    torch, cuda = _own_torch() if ask_torch else (None, None)
    return Native(python=sys.executable, source="own", torch=torch, cuda=cuda)


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


def _with_facts(docker: Docker | None, facts: dict[str, Any]) -> Docker | None:
    if docker is None or "docker" not in facts:
        return docker
    from dataclasses import replace  # noqa: PLC0415

    return replace(docker, gpu=facts["docker"].get("gpu"))


def _recorded() -> dict[str, Any]:
    try:
        found = json.loads(paths.facts().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


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
    return "SEP_IN_CONTAINER" in os.environ or any(Path(each).exists() for each in markers)


def _batch_system() -> str:
    if "APPTAINER_CONTAINER" in os.environ or "SINGULARITY_CONTAINER" in os.environ:
        return "Apptainer"
    return "Slurm" if "SLURM_JOB_ID" in os.environ else ""
