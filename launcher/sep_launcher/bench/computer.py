"""What this computer is, as somebody else needs it to judge a figure; nothing names it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sep_launcher.bench.document import Machine

if TYPE_CHECKING:
    from sep_launcher.machine.host import Host


def describe(host: Host) -> Machine:
    """Return what it is."""
    inside = ["a container"] if host.in_container else []
    inside += [host.batch_system] if host.batch_system else []
    inside += ["WSL"] if host.wsl else []
    return Machine(
        system=_system(host),
        kernel=_kernel(),
        processor=processor(),
        processors=os.cpu_count() or 0,
        cores=host.cores,
        memory=host.memory,
        gpus=host.gpus,
        apple_gpu=host.apple_gpu,
        python=platform.python_version(),
        inside=", ".join(inside),
    )


def _kernel() -> str:
    """Return the kernel's numbers; what a builder adds to them may be a name."""
    numbers = re.match(r"[\d.]*", platform.release())
    return f"{platform.system()} {numbers[0] if numbers else ''}, {platform.machine()}"


def _system(host: Host) -> str:
    if host.system == "macos":
        return f"macOS {host.version}"
    if host.system == "windows":
        return f"Windows {platform.release()} ({platform.version()})"
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "Linux"


def processor() -> str:
    """Return the processor's name as its maker writes it, else its kind."""
    found = ""
    if sys.platform == "darwin":
        found = _asked("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string")
    elif sys.platform == "win32":
        found = _registered()
    else:
        found = _listed()
    return found or platform.processor() or platform.machine()


def _asked(*command: str) -> str:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=2, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


def _listed() -> str:
    """Return what Linux says; on ARM that is nothing, or the name of the board."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    told = dict(
        reversed([[each.strip() for each in line.split(":", 1)] for line in lines if ":" in line])
    )
    return told.get("model name") or told.get("Model") or ""


if sys.platform == "win32":

    def _registered() -> str:
        import winreg  # noqa: PLC0415 (on Windows alone)

        place = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, place) as key:
                return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
        except OSError:
            return ""

else:

    def _registered() -> str:
        return ""
