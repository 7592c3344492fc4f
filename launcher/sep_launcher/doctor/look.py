"""Gather what the rules look at. Bounded in time; nothing here raises or judges."""

from __future__ import annotations

import contextlib
import ctypes.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sep_models
from sep_launcher.doctor import look_far
from sep_launcher.doctor.catalogue import explain
from sep_launcher.doctor.evidence import (
    Answers,
    Disk,
    Evidence,
    Graphics,
    Package,
    Recorded,
    Weights,
)
from sep_launcher.doctor.native_rules import CANNOT_START
from sep_launcher.machine import disk, facts, paths, probe
from sep_launcher.machine.host import Host
from sep_launcher.planning import models, own

if TYPE_CHECKING:
    from sep_launcher.show.finding import Finding

NOT_FULL = 1 << 40  # bytes: what has no size is not full
ASK_SECONDS = 90.0  # a cold disk takes long over torch
SCRIPT = Path(__file__).with_name("ask_python.py")
VENDORS = {"0x10de": "nvidia", "0x1002": "amd", "0x8086": "intel"}
# Variables that change what a run does; others are nobody's business.
VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "DOCKER_CONTEXT",
    "DOCKER_DEFAULT_PLATFORM",
    "DOCKER_HOST",
    "OMP_NUM_THREADS",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTORCH_ENABLE_MPS_FALLBACK",
    "PYTORCH_MPS_HIGH_WATERMARK_RATIO",
    "RAY_ADDRESS",
    "RAY_AUTH_MODE",
    "RAY_TMPDIR",
    "RAY_USE_TLS",
    "SEP_DEVICE",
    "SEP_ENGINE",
    "SEP_HANG_SECONDS",
    "SEP_HOME",
    "SEP_MODEL",
    "SEP_OUT",
    "SEP_OVERLAP",
    "SEP_PRECISION",
    "SEP_RUNTIME_PYTHON",
    "SEP_TORCH_INDEX",
    "SYSTEM_VERSION_COMPAT",
    "TMPDIR",
)
CDI_FOLDERS = ("/etc/cdi", "/var/run/cdi")
WSL_LIBRARIES = ("/usr/lib/wsl/lib/libcuda.so.1", "/usr/lib/x86_64-linux-gnu/libcuda.so.1")


def look(host: Host, *, all_of_it: bool = False) -> Evidence:
    """Return all that can be had at once; the runtime's Python is asked by `ask`."""
    return Evidence(
        host=host,
        graphics=graphics(host),
        disks=disks(),
        weights=tuple(weights(all_of_it=all_of_it)),
        recorded=recorded(),
        variables=variables(),
        docker_command=_docker_command(),
        avx2=avx2(host),
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        looked_far=True,
        ray=look_far.ray(),
        mounts=look_far.mounts(),
        stores=look_far.stores(),
    )


def behind(failures: list[str]) -> list[Finding]:
    """Return the findings behind what a run said when it failed, each once."""
    system, version = probe.system()
    seen = Evidence(
        host=Host(system=system, version=version, native=probe.native(facts.read())),
        docker_command=_docker_command(),
        graphics=Graphics(toolkit=shutil.which("nvidia-ctk") is not None),
        variables=variables(),
    )
    found = [each for each in (explain(seen, each) for each in failures) if each]
    return list({each.id: each for each in found}.values())


def variables() -> tuple[tuple[str, str], ...]:
    """Return the variables of the environment that change what a run does."""
    return tuple((name, os.environ[name]) for name in VARIABLES if name in os.environ)


def graphics(host: Host, root: Path = Path("/")) -> Graphics:
    """Return what the system shows of GPUs."""
    smi = shutil.which("nvidia-smi")
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    return Graphics(
        vendors=_vendors(root) if sys.platform != "win32" else _windows_vendors(),
        board=_board(root),
        driver=_driver(root),
        smi=_smi_fault(smi) if smi and not host.gpus and hidden not in ("", "-1") else "",
        smi_here=smi is not None,
        toolkit=shutil.which("nvidia-ctk") is not None,
        cdi=_cdi(root),
        hidden=hidden,
        wsl_library=_wsl_library() if host.wsl else "",
    )


def _docker_command() -> str:
    found = shutil.which("docker")
    return os.path.realpath(found) if found else ""


def _vendors(root: Path) -> tuple[str, ...]:
    found = set()
    for device in (root / "sys/bus/pci/devices").glob("*"):
        with contextlib.suppress(OSError):
            if (device / "class").read_text().startswith("0x03"):
                found.add(VENDORS.get((device / "vendor").read_text().strip(), "other"))
    return tuple(sorted(found))


def _windows_vendors() -> tuple[str, ...]:
    """Return the vendors of display adapters, from the registry. Never run on Windows."""
    found: set[str] = set()
    if sys.platform == "win32":
        import winreg  # noqa: PLC0415 (only there)

        key = r"SYSTEM\CurrentControlSet\Enum\PCI"
        with contextlib.suppress(OSError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as pci:
            for index in range(winreg.QueryInfoKey(pci)[0]):
                name = winreg.EnumKey(pci, index)
                with winreg.OpenKey(pci, name) as device:
                    place = winreg.EnumKey(device, 0)
                    with contextlib.suppress(OSError), winreg.OpenKey(device, place) as value:
                        if winreg.QueryValueEx(value, "Class")[0] == "Display":
                            found.add(VENDORS.get(f"0x{name[4:8].lower()}", "other"))
    return tuple(sorted(found))


def _board(root: Path) -> str:
    with contextlib.suppress(OSError):
        model = (root / "proc/device-tree/model").read_text(errors="replace").strip("\0\n ")
        if "jetson" in model.lower() or disk.exists(root / "etc/nv_tegra_release"):
            return model
    return ""


def _driver(root: Path) -> str:
    """Return the version of NVIDIA's kernel module."""
    with contextlib.suppress(OSError):
        text = (root / "proc/driver/nvidia/version").read_text(errors="replace")
        found = re.search(r"(\d{3}\.\d+(\.\d+)?)", text)
        return found.group(1) if found else ""
    return ""


def _smi_fault(smi: str) -> str:
    try:
        done = subprocess.run(
            [smi], capture_output=True, text=True, timeout=probe.SMI_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as fault:
        return f"nvidia-smi: {fault}"
    told = (done.stdout + done.stderr).strip().splitlines()
    if done.returncode:
        return told[0] if told else f"nvidia-smi ended with code {done.returncode}"
    return "nvidia-smi works and lists no GPU"


def _cdi(root: Path) -> tuple[str, ...]:
    """Return the driver versions in the CDI files: libraries carry them in their names."""
    found = set()
    for folder in CDI_FOLDERS:
        for path in (root / folder.lstrip("/")).glob("*nvidia*"):
            with contextlib.suppress(OSError):
                text = path.read_text(errors="replace")
                found |= set(re.findall(r"libcuda\.so\.(\d{3}\.\d+(?:\.\d+)?)", text))
    return tuple(sorted(found))


def _wsl_library() -> str:
    if ctypes.util.find_library("cuda") is None:
        return ""
    there = [each for each in reversed(WSL_LIBRARIES) if disk.exists(each)]
    return os.path.realpath(there[0]) if there else ""


def disks() -> tuple[Disk, ...]:
    """Return room and rights of the places that sep writes to."""
    found = []
    places = {"data": paths.data(), "temporary": Path(tempfile.gettempdir()), "output": Path.cwd()}
    for what, path in places.items():
        there = next((each for each in (path, *path.parents) if disk.exists(each)), path)
        with contextlib.suppress(OSError):
            usage = shutil.disk_usage(there)
            writable = os.access(there, os.W_OK) and usage.total > 0  # /proc is no place
            free = usage.free if usage.total else NOT_FULL
            found.append(Disk(what=what, path=str(path), free=free, writable=writable))
    return tuple(found)


def weights(*, all_of_it: bool = False) -> list[Weights]:
    """Return the installed weights; large ones are hashed only where all of it is looked at."""
    found = []
    for manifest in (*sep_models.catalogue(), *own.every()):
        folder = models.folder(manifest)
        if folder is None and not manifest.bundled:
            continue
        path = (folder or sep_models.folder_of(manifest.name)) / sep_models.WEIGHTS
        fault = models.fault(manifest, path, hashed=all_of_it or manifest.bundled)
        pulled = folder is not None and folder.parent == paths.models()  # or imported
        found.append(Weights(model=manifest.name, path=str(path), fault=fault, pulled=pulled))
    return found


def weights_of_runtime(answers: Answers) -> tuple[Weights, ...]:
    """Return the bundled weights that the runtime's Python has, where those are its own."""
    found = []
    for manifest in sep_models.catalogue():
        path = Path(answers.models, sep_models.folder_of(manifest.name).name, sep_models.WEIGHTS)
        ours = sep_models.folder_of(manifest.name) / sep_models.WEIGHTS
        if manifest.bundled and answers.models and path != ours:
            fault = models.fault(manifest, path, hashed=True, wanted=manifest.sha256)
            found.append(Weights(model=manifest.name, path=str(path), fault=fault))
    return tuple(found)


def recorded() -> Recorded:
    """Return what setup noted."""
    made = facts.read().native
    if made is None:
        return Recorded(fault=facts.fault())
    return Recorded(python=made.python, version=made.version, exists=disk.exists(made.python))


def avx2(host: Host) -> bool | None:
    """Say whether the processor has AVX2, None where that is no question or not known."""
    if host.arm or host.system != "linux":
        return None
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return "avx2" in flags.split() if flags else None


def ask(host: Host) -> tuple[Answers, dict[str, str]] | None:
    """Return what the runtime's Python says, and what is installed there; None without one."""
    if host.native is None:
        return None
    begun = time.perf_counter()
    flags = ["-I"] if host.native.source == "setup" else []
    try:
        done = subprocess.run(
            [host.native.python, *flags, str(SCRIPT)],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=ASK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as fault:
        answers, installed = read_answers((fault.stdout or b"").decode("utf-8", "replace"))
        late = f"it did not answer within {ASK_SECONDS:.0f} s"
        return replace(answers, fault=late), installed
    except OSError as fault:
        return Answers(fault=f"{host.native.python} {CANNOT_START}: {fault.strerror}"), {}
    answers, installed = read_answers(done.stdout.decode("utf-8", "replace"))
    answers = replace(answers, seconds=time.perf_counter() - begun)
    if done.returncode:
        told = done.stderr.decode("utf-8", "replace").strip().splitlines()
        answers = _crashed(answers, host.native.python, done.returncode, told)
    return answers, installed


def _crashed(answers: Answers, python: str, code: int, told: list[str]) -> Answers:
    """Return the answers of a Python that did not get to the end; the last import is to blame."""
    how = f"ended by signal {-code}" if code < 0 else f"ended with code {code}"
    last = f": {told[-1]}" if told else ""
    name = answers.importing
    if code < 0 and name and answers.package(name) is None:
        blamed = Package(name=name, fault=f"Python {how} while it was imported{last}")
        return replace(answers, packages=(*answers.packages, blamed))
    return replace(answers, fault=f"{python} {how}{last}")


def read_answers(text: str) -> tuple[Answers, dict[str, str]]:
    """Return the answers in the script's lines; lines of others are passed over."""
    found: dict[str, Any] = {}
    packages: list[Package] = []
    installed: dict[str, str] = {}
    known = {each.name for each in fields(Answers)}
    for line in text.splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if not isinstance(told, dict):
            continue
        installed |= told.pop("distributions", {})
        if "package" in told:
            packages.append(Package(**told.pop("package")))
        found |= {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in told.items()
            if name in known
        }
    return Answers(packages=tuple(packages), **found), installed
