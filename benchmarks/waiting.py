"""How OpenMP's threads should wait for each other: on an idle machine, and beside busy programs.

python benchmarks/waiting.py [--busy 0 1 2] [--repeats 15] [--seconds 5] [--model mdx23c-mini]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# libgomp's own count is 300,000 where nothing is said, and 0 where the policy is passive.
WAYS = {
    "300,000 turns": {"GOMP_SPINCOUNT": "300000"},
    "10,000 turns": {"GOMP_SPINCOUNT": "10000"},
    "1,000 turns": {"GOMP_SPINCOUNT": "1000"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
}
# Loads the model once; then every line that it gets is one measurement.
WORKER = """
import sys, time
import numpy as np
import sep_runtime
model = sep_runtime.load(sys.argv[1], device="cpu")
mix = np.random.default_rng(0).standard_normal((2, round(44100 * float(sys.argv[2]))))
mix = (mix * 0.1).astype(np.float32)
for _ in sys.stdin:
    begun = time.perf_counter()
    model.separate(mix, 44100)
    print(time.perf_counter() - begun, flush=True)
"""


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep so many cores busy meanwhile, at normal priority."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for each in loops:
            each.kill()
            each.wait()


def seconds(worker: subprocess.Popen[str]) -> float:
    """Return the seconds of one measurement."""
    if worker.stdin is None or worker.stdout is None:
        raise TypeError("it has no pipes")
    worker.stdin.write("\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


def main() -> None:
    """Take turns; print medians and what each way gains on the first one, turn by turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--model", default="mdx23c-mini")
    own = parser.parse_args()
    workers = {
        name: subprocess.Popen(
            [sys.executable, "-c", WORKER, own.model, str(own.seconds)],
            env={**os.environ, **way},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, way in WAYS.items()
    }
    for worker in workers.values():
        seconds(worker)
    for count in own.busy:
        with busy(count):
            rows = [[seconds(worker) for worker in workers.values()] for _ in range(own.repeats)]
        load = os.getloadavg()[0]
        print(f"beside {count} busy programs, medians of {own.repeats}, load {load:.1f}")
        for name, column in zip(workers, zip(*rows, strict=True), strict=True):
            gain = statistics.median(row[0] / one for row, one in zip(rows, column, strict=True))
            print(
                f"  {name:14}{statistics.median(column):7.2f} s "
                f"({min(column):.2f} to {max(column):.2f}), {gain:.2f} x",
                flush=True,
            )
    for worker in workers.values():
        worker.communicate()


if __name__ == "__main__":
    main()
