"""What a Ray cluster of this machine costs: seconds to start, to place a worker, to end; memory.

python benchmarks/ray_cluster.py [--runs 3]

Memory is the sum of what all its processes have for themselves and their share of what is common
(PSS), without this one. Linux alone.
"""

from __future__ import annotations

import argparse
import statistics
import time

import psutil

from sep_launcher.engines.ray.cluster import Cluster
from sep_launcher.planning.cluster import ClusterWish


def held() -> float:
    """Return the MiB of all processes below this one."""
    below = psutil.Process().children(recursive=True)
    return sum(each.memory_full_info().pss for each in below) / (1 << 20)


def once() -> tuple[float, float, float, float]:
    """Return the seconds of the start, of the first worker and of the end, and MiB with it."""
    begun = time.perf_counter()
    with Cluster(ClusterWish(workers=1)) as cluster:
        started = time.perf_counter()
        (engine,) = cluster.engines()
        engine.ready()
        placed = time.perf_counter()
        memory = held()
        leaves = time.perf_counter()
    return started - begun, placed - started, time.perf_counter() - leaves, memory


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = [once() for _ in range(parser.parse_args().runs)]
    start, worker, end, memory = map(statistics.median, zip(*runs, strict=True))
    print(f"start {start:.1f} s, first worker {worker:.1f} s, end {end:.1f} s")
    print(f"memory {memory:.0f} MiB with a worker that has nothing to do yet")


if __name__ == "__main__":
    main()
