"""The variables of a runtime, which are set before torch is imported."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sep_launcher.machine.host import Host
    from sep_launcher.planning.route import Route

# glibc gives a chunk's buffers back to the kernel after every layer and faults them in again.
KEEP_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2000 << 20),
}


def environment(host: Host, route: Route, threads: int | None = None) -> dict[str, str]:
    """Return them: threads within the quota, or its share of them; MPS operators with a way out."""
    contained = route.engine == "container"
    threads = threads or max(1, math.floor(host.cores + 0.5))
    found = {"OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
    if host.system == "linux" or contained:
        found |= KEEP_MEMORY
    if contained:
        if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
            found["CUDA_VISIBLE_DEVICES"] = visible  # the container is given all of them
        return found
    if host.apple_gpu:
        found["PYTORCH_ENABLE_MPS_FALLBACK"] = "1"
    return found
