"""Gather what rules about many machines look at: Ray, shared disks, object stores.

Nothing here asks a cluster or a store, and no token is read.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
import tomllib
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from sep_launcher.doctor.evidence import Mount, Ray, Store
from sep_launcher.machine import disk, paths, storage
from sep_protocol.errors import PathError

TOKEN, TOKEN_PATH = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
SHARED_MEMORY = "dev/shm"
NETWORK = ("nfs", "nfs4", "lustre")  # whose locks depend on how they are mounted


def ray(root: Path = Path("/")) -> Ray | None:
    """Return what is here of Ray, None where nothing is."""
    version = ""
    with contextlib.suppress(metadata.PackageNotFoundError):
        version = metadata.version("ray")
    command, of_command, python = _command()
    if not (version or command):
        return None
    token = Path(os.environ.get(TOKEN_PATH) or _home() / ".ray" / "auth_token")
    mode = disk.mode(token)
    return Ray(
        version=version,
        command=command,
        command_version=of_command,
        command_python=python,
        has_token=bool(os.environ.get(TOKEN)) or mode != 0,
        file=str(token) if mode else "",
        file_mode=mode & 0o777 if mode and os.name != "nt" else None,
        shared_memory=_free(root / SHARED_MEMORY),
        temporary=_temporary(),
    )


def _temporary() -> str:
    """Return the folder that `ray start` would take, as Ray 2.60 chooses it."""
    named = os.environ.get("RAY_TMPDIR")
    if not named and sys.platform == "linux":
        named = os.environ.get("TMPDIR")
    if named or os.name == "nt":
        return named or tempfile.gettempdir()
    return "/tmp"  # noqa: S108 (nothing is made there)


def _command() -> tuple[str, str, str]:
    """Return the `ray` command of another environment than ours, its version and its Python's."""
    found = shutil.which("ray")
    if not found:
        return "", "", ""
    folder = Path(os.path.realpath(found)).parent
    if folder == Path(os.path.realpath(Path(sys.executable).parent)):
        return "", "", ""
    for each in folder.parent.glob("lib/python3*/site-packages/ray-*.dist-info"):
        version = each.name.removeprefix("ray-").removesuffix(".dist-info")
        return found, version, each.parts[-3].removeprefix("python")
    return "", "", ""  # whose it is cannot be told


def _home() -> Path:
    with contextlib.suppress(RuntimeError):
        return Path.home()
    return Path("/nonexistent")


def _free(folder: Path) -> int | None:
    with contextlib.suppress(OSError):
        return shutil.disk_usage(folder).free
    return None


def outs() -> dict[str, str]:
    """Return the output folders and addresses that are known without a command, by who says so."""
    found = {}
    with contextlib.suppress(
        OSError, ValueError, LookupError, AttributeError, TypeError, PathError
    ):
        told = tomllib.loads(paths.settings().read_text(encoding="utf-8"))["run"].get("out")
        if isinstance(told, str):
            found[paths.settings().name] = told
    if told := os.environ.get("SEP_OUT"):
        found["SEP_OUT"] = told
    return found


def stores() -> tuple[Store, ...]:
    """Return the object stores that runs write to by default."""
    return tuple(
        Store(where=where, url=url, missing=_missing(url.partition("://")[0].lower()))
        for where, url in outs().items()
        if storage.is_url(url)
    )


def _missing(scheme: str) -> str:
    """Return the packages for a kind of store that are not installed beside the launcher."""
    wanted = dict.fromkeys(("fsspec", storage.PACKAGES.get(scheme, "fsspec")))
    return " ".join(each for each in wanted if find_spec(each) is None)


def mounts(root: Path = Path("/")) -> tuple[Mount, ...]:
    """Return the network file systems that outputs lie on: the default one, the current folder."""
    places = {where: out for where, out in outs().items() if not storage.is_url(out)}
    with contextlib.suppress(OSError):
        places["the current folder"] = str(Path.cwd())
    try:
        text = (root / "proc/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    found = (_mount_of(where, place, text) for where, place in places.items())
    return tuple(each for each in found if each)


def _mount_of(where: str, place: str, text: str) -> Mount | None:
    """Return the network file system that a place is on, by the table of mounts."""
    path = Path(os.path.realpath(place))
    best: Mount | None = None
    for line in text.splitlines():
        _, point, kind, options, *_ = [*line.split(" "), "", "", "", ""]
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point)
        inside = bool(point) and (path == Path(point) or Path(point) in path.parents)
        # Of two on one point the later one is seen.
        if inside and (best is None or len(point) >= len(best.point)):
            best = Mount(
                where=where, point=point, kind=kind, options=tuple(sorted(options.split(",")))
            )
    return best if best and best.kind in NETWORK else None
