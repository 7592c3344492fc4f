"""The first look at a Docker endpoint: plain HTTP over its socket, without docker-py."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from sep_launcher.machine import disk
from sep_launcher.machine.host import Docker
from sep_protocol.version import PROTOCOL, __version__

SECONDS = 2.0  # for each question
MOST = 16 << 20  # bytes of an answer
LOOPBACK = ("localhost", "127.0.0.1", "::1")
PORT = 2375  # of a daemon that speaks plain HTTP
# Words by which the rules of `sep doctor` know what is wrong.
SILENT = "does not answer"
PERMISSION = "no permission to use"
UNKNOWN_CONTEXT = "there is no Docker context called"
LABEL = "dev.sep"  # labels of our images: <LABEL>.version, .protocol, .variant


def probe() -> Docker | None:
    """Return what the chosen endpoint says; None where there is no sign of an engine."""
    endpoint, chosen = _endpoint()
    if endpoint.startswith("fault:"):
        return Docker(endpoint="", fault=endpoint.removeprefix("fault:"))
    try:
        return _asked(endpoint, chosen=chosen)
    except PermissionError:
        return Docker(endpoint=endpoint, fault=f"{PERMISSION} {endpoint}")
    except (OSError, ValueError, http.client.HTTPException) as fault:
        return Docker(endpoint=endpoint, fault=f"{endpoint} {SILENT} ({_short(fault)})")
    except (TypeError, AttributeError, LookupError, RecursionError):
        return Docker(endpoint=endpoint, fault=f"{endpoint} {SILENT} (not as Docker does)")


def _asked(endpoint: str, *, chosen: bool) -> Docker | None:
    scheme, _, address = endpoint.partition("://")
    # One on this host may be its own: whether it sees our files shows when it is used.
    own = scheme in ("tcp", "http") and urlsplit(endpoint).hostname in LOOPBACK
    if scheme in ("tcp", "ssh", "http", "https") and not own:
        return Docker(endpoint=endpoint, remote=True)
    if scheme == "unix" and not chosen and not disk.exists(address):
        return None
    if scheme == "npipe" and not chosen and not disk.exists(_pipe(address)):
        return None
    info = _get(endpoint, "/info")
    version = _get(endpoint, "/version")
    wanted = json.dumps({"label": [f"{LABEL}.variant"]})
    images = _get(endpoint, f"/images/json?filters={quote(wanted)}")
    return facts(endpoint, info, version, images)


def facts(
    endpoint: str, info: dict[str, Any], version: dict[str, Any], images: list[dict[str, Any]]
) -> Docker:
    """Return the facts in the daemon's three answers."""
    parts = version.get("Components") or []
    security = info.get("SecurityOptions") or []
    variants, others = _by_variant(images)
    return Docker(
        endpoint=endpoint,
        version=str(info.get("ServerVersion", "")),
        podman=any("podman" in str(part.get("Name", "")).lower() for part in parts),
        desktop=str(info.get("OperatingSystem", "")) == "Docker Desktop",
        rootless=any("rootless" in str(option) for option in security),
        memory=int(info.get("MemTotal") or 0),
        system=str(info.get("OSType") or ""),
        kernel=str(info.get("KernelVersion") or ""),
        root=str(info.get("DockerRootDir") or ""),
        runtimes=tuple(sorted(info.get("Runtimes") or ())),
        api=str(version.get("ApiVersion") or ""),
        stale=tuple(others[each] for each in sorted(others) if each not in variants),
        images=tuple(sorted(variants)),
        digests=tuple(variants[each] for each in sorted(variants)),
    )


def _by_variant(images: list[dict[str, Any]]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the digests of this sep's images, and what other images of sep there are."""
    found: dict[str, str] = {}
    others: dict[str, str] = {}
    for image in images:
        labels = image.get("Labels") or {}
        variant = labels.get(f"{LABEL}.variant")
        version, protocol = labels.get(f"{LABEL}.version"), labels.get(f"{LABEL}.protocol")
        if not variant:
            continue
        if (version, protocol) == (__version__, str(PROTOCOL)):
            found[variant] = str(image.get("Id", ""))
        else:
            others[variant] = f"the image for {variant} has sep {version} (protocol {protocol})"
    return found, others


def _endpoint() -> tuple[str, bool]:
    """Return the endpoint as the docker command would choose it, and whether somebody chose it."""
    if host := os.environ.get("DOCKER_HOST"):
        return host, True
    home = os.path.expanduser("~")  # noqa: PTH111 (Path's raises for a user without one)
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path(home, ".docker"))
    name = os.environ.get("DOCKER_CONTEXT") or _current_context(folder)
    if name and name != "default":
        # The docker command names a context's folder by the hash of its name.
        key = hashlib.sha256(os.fsencode(name)).hexdigest()
        try:
            meta = json.loads((folder / "contexts" / "meta" / key / "meta.json").read_text())
            return str(meta["Endpoints"]["docker"]["Host"]), True
        except (OSError, ValueError, LookupError, TypeError):
            return f"fault:{UNKNOWN_CONTEXT} {name!r}", True
    if sys.platform == "win32":
        return "npipe:////./pipe/docker_engine", False
    candidates = [
        "/var/run/docker.sock",
        str(Path(home, ".docker/run/docker.sock")),
        str(Path(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent")) / "docker.sock"),
    ]
    there = [each for each in candidates if disk.exists(each)]
    return f"unix://{(there or candidates)[0]}", False


def _current_context(folder: Path) -> str:
    try:
        found = json.loads((folder / "config.json").read_text()).get("currentContext", "")
    except (OSError, ValueError, AttributeError):
        return ""
    return str(found)


def _pipe(address: str) -> str:
    return address.replace("/", "\\")


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(SECONDS)
        self.sock.connect(self._path)


def _get(endpoint: str, path: str) -> Any:  # noqa: ANN401 (JSON of somebody else)
    scheme, _, address = endpoint.partition("://")
    if scheme == "npipe":
        return json.loads(_through_pipe(_pipe(address), path))
    connection: http.client.HTTPConnection
    if scheme == "unix":
        connection = _Connection(address)
    else:
        parts = urlsplit(endpoint)
        host = parts.hostname or ""
        connection = http.client.HTTPConnection(host, parts.port or PORT, timeout=SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise ValueError(f"HTTP {answer.status}")
        return json.loads(answer.read(MOST))
    finally:
        connection.close()


def _through_pipe(pipe: str, path: str) -> bytes:
    """Ask over a Windows named pipe; HTTP/1.0 ends with the connection. Never run on Windows."""
    with Path(pipe).open("r+b", buffering=0) as file:
        file.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        head, _, body = file.read().partition(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise ValueError("the engine refused")
    return body


def _short(fault: Exception) -> str:
    return getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
