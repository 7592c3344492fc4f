"""Containers that outlived their launcher: marked when they are made, swept by a later run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sep_launcher.machine.docker_probe import LABEL

if TYPE_CHECKING:
    from sep_launcher.engines.docker.daemon import Daemon


def sweep(daemon: Daemon) -> None:
    """Remove containers of launchers on this host that are dead: the cure after a kill -9."""
    import psutil  # noqa: PLC0415

    for container, labels in daemon.containers():
        pid, born = labels.get(f"{LABEL}.pid", ""), labels.get(f"{LABEL}.born", "")
        if labels.get(f"{LABEL}.host") != _host() or not pid.isdecimal():
            continue
        try:
            alive = f"{psutil.Process(int(pid)).create_time():.0f}" == born
        except psutil.NoSuchProcess:
            alive = False
        except psutil.AccessDenied:
            alive = True
        if not alive:
            daemon.remove(container)


def labels(job: str) -> dict[str, str]:
    """Return the labels by which a later launcher knows whose container it is."""
    import psutil  # noqa: PLC0415

    me = psutil.Process()
    return {
        f"{LABEL}.job": job,
        f"{LABEL}.host": _host(),
        f"{LABEL}.pid": str(me.pid),
        f"{LABEL}.born": f"{me.create_time():.0f}",
    }


def _host() -> str:
    import platform  # noqa: PLC0415

    return platform.node()
