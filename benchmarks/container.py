"""What a container costs: the same run natively and in a container, by turns; medians."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import sep_models


def run(engine: str, audio: Path, out: Path) -> dict[str, float]:
    """Return the seconds of one run: all, the runtime's own, and what is around it."""
    command = [sys.executable, "-P", "-m", "sep_launcher", "run", str(audio), "--json"]
    begun = time.perf_counter()
    done = subprocess.run(
        [*command, "--engine", engine, "--out", str(out)],
        capture_output=True,
        text=True,
        check=True,
    )
    whole = time.perf_counter() - begun
    found = json.loads(done.stdout)
    phases: dict[str, float] = found["phases"]
    inside = sum(phases.values())
    return {"whole": whole, "runtime": inside, "around": whole - inside} | phases


def main() -> None:
    """Print a table and the difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--audio", type=Path, default=sep_models.golden_clip())
    options = parser.parse_args()
    rows: dict[str, list[dict[str, float]]] = {"native": [], "container": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.runs + 1):  # the first of each warms the disk's cache
            for engine, found in rows.items():
                measured = run(engine, options.audio, Path(folder, engine, str(number)))
                if number:
                    found.append(measured)
    names = list(rows["native"][0])
    print(f"{'seconds':10}" + "".join(f"{name:>10}" for name in names))
    medians = {
        engine: {name: statistics.median(one[name] for one in found) for name in names}
        for engine, found in rows.items()
    }
    for engine, row in medians.items():
        print(f"{engine:10}" + "".join(f"{row[name]:10.2f}" for name in names))
    more = {name: medians["container"][name] - medians["native"][name] for name in names}
    print(f"{'more':10}" + "".join(f"{more[name]:10.2f}" for name in names))


if __name__ == "__main__":
    main()
