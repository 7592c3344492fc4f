"""Request and route to everything that an engine needs. Pure but for the job's random name."""

from __future__ import annotations

import hashlib
import math
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sep_protocol import Job, Track

if TYPE_CHECKING:
    from sep_launcher.machine.host import Host
    from sep_launcher.planning.files import Found
    from sep_launcher.planning.request import Request
    from sep_launcher.planning.route import Route
    from sep_models import Manifest
    from sep_protocol import Model


# glibc gives a chunk's buffers back to the kernel after every layer and faults them in again.
KEEP_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(2000 << 20),
}
# File systems take 255 bytes; a stem's file also needs its name, ending and a working suffix.
FOLDER_BYTES = 255
STEM_BYTES = 215


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A Job and how to have it done; its paths are this host's."""

    job: Job
    route: Route
    expects: str  # what kind of mix the model is for
    environment: dict[str, str]  # variables of the runtime, set before torch is imported
    python: str | None = None  # of the native engine
    isolated: bool = False  # it is setup's: nobody's PYTHONPATH and PYTHONHOME are for it
    endpoint: str = ""  # of the container engine
    memory: int | None = None  # bytes that the container may take; None: all the engine has


def plan(
    request: Request,
    host: Host,
    route: Route,
    *,
    found: list[Found],
    model: Model,
    manifest: Manifest | None,
) -> Plan:
    """Return the plan; writes nothing."""
    folder, _, stem_name = request.name.rpartition("/")
    tracks = []
    for each in found:
        below, name = (
            part.replace("{track}", each.name.name).replace("{model}", model.name)
            for part in (folder, stem_name)
        )
        parts = [fitted(part, FOLDER_BYTES) for part in below.split("/")]
        out = Path(request.out, each.name.parent, *parts)
        name = fitted(name, STEM_BYTES)
        tracks.append(
            Track(
                audio=str(each.path.resolve()),
                out=str(_absolute(out)),
                stem_name=name,
                shown=str(_absolute(each.path)),
            )
        )
    job = Job(
        id=secrets.token_hex(4),
        tracks=tuple(tracks),
        model=model,
        output=request.output,
        device=request.wanted.device,
        fallback=request.fallback,
        overlap=request.overlap,
        batch=request.batch,
        downmix=request.downmix,
    )
    return Plan(
        job=job,
        route=route,
        expects=manifest.expects if manifest else "",
        environment=environment(host, route),
        python=host.native.python if host.native else None,
        isolated=host.native is not None and host.native.source == "setup",
        endpoint=host.docker.endpoint if host.docker else "",
        memory=request.memory,
    )


def fitted(name: str, most: int) -> str:
    """Return the name, cut in the middle where it has more bytes than a file system takes."""
    encoded = name.encode("utf-8", "surrogateescape")
    if len(encoded) <= most:
        return name
    mark = f"~{hashlib.sha256(encoded).hexdigest()[:8]}~".encode()
    half = (most - len(mark)) // 2
    head = encoded[:half].decode("utf-8", "ignore")
    tail = encoded[-half:].decode("utf-8", "ignore")
    return head + mark.decode() + tail


def environment(host: Host, route: Route) -> dict[str, str]:
    """Return the runtime's variables: threads within the quota, MPS operators with a way out."""
    contained = route.engine == "container"
    threads = str(max(1, math.floor(host.cores + 0.5)))
    found = {"OMP_NUM_THREADS": threads, "PYTHONUNBUFFERED": "1"}
    if host.system == "linux" or contained:
        found |= KEEP_MEMORY
    if contained:
        if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
            found["CUDA_VISIBLE_DEVICES"] = visible  # the container is given all of them
        return found
    if host.apple_gpu:
        found["PYTORCH_ENABLE_MPS_FALLBACK"] = "1"
    return found


def _absolute(path: Path) -> Path:
    """Return the path from the root, without following links in a name that may not exist yet."""
    return Path.cwd() / path
