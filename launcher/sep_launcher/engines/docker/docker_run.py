"""A container as a `docker run` line to paste, that does the same by itself. Pure."""

from __future__ import annotations

from sep_launcher.engines import (
    LOG_DRIVER,
    LOG_SIZE,
    PROCESSES,
    RUNTIME,
    SHARED,
    TMP,
    TMP_FOLDER,
    Spec,
    shells,
)
from sep_launcher.engines.docker.translate import JOB_FILE


def in_bash(spec: Spec, outs: list[str]) -> str:
    """Return the line for bash and its like."""
    return f"{shells.bash(['mkdir', '-p', *outs])} && {shells.bash(arguments(spec))}"


def in_powershell(spec: Spec, outs: list[str]) -> str:
    """Return the line for PowerShell."""
    makes = "".join(
        f"New-Item -ItemType Directory -Force -Path {shells.powershell([out])} | Out-Null; "
        for out in outs
    )
    return f"{makes}& {shells.powershell(arguments(spec))}"


def arguments(spec: Spec) -> list[str]:
    """Return the `docker run` command that makes the same container."""
    command = ["docker", "run", "--rm", "--network", "none", "--read-only"]
    command += ["--tmpfs", f"{TMP_FOLDER}:{TMP}", "--cap-drop", "ALL", "--init"]
    command += ["--security-opt", "no-new-privileges:true", "--security-opt", "label=disable"]
    command += ["--pids-limit", str(PROCESSES), "--shm-size", SHARED, "--ipc", "private"]
    command += ["--log-driver", LOG_DRIVER, "--log-opt", f"max-size={LOG_SIZE}"]
    if spec.user:
        command += ["--user", spec.user]
    for group in spec.groups:
        command += ["--group-add", str(group)]
    if spec.memory:
        command += ["--memory", str(spec.memory), "--memory-swap", str(spec.memory)]
    if spec.gpu:
        command += ["--gpus", "all"]
    for name, value in spec.environment.items():
        command += ["--env", f"{name}={value}"]
    for source, target, writable in spec.binds:
        fields = ["type=bind", f"source={source}", f"target={target}"]
        fields += [] if writable else ["readonly"]
        command += ["--mount", ",".join(_csv(each) for each in fields)]
    return [*command, "--entrypoint", RUNTIME[0], spec.image, *RUNTIME[1:], JOB_FILE]


def _csv(field: str) -> str:
    """Quote a field of --mount, which is a line of CSV."""
    if not set(field) & set(',"\n'):
        return field
    return '"' + field.replace('"', '""') + '"'
