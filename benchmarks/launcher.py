"""What the launcher costs: `sep --version`, and `sep run` over the bare runtime, interleaved.

python benchmarks/launcher.py [--runs 9] [sep run's options, as --model FILE --model-config FILE]
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLIP = Path(__file__).parent.parent / "models" / "sep_models" / "golden.flac"


def seconds(command: list[str], folder: Path) -> float:
    """Return the wall time of a command that must succeed."""
    begun = time.perf_counter()
    # A pipe that stays open and empty, as the launcher gives the runtime.
    with subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        if process.wait():
            sys.exit(f"failed: {shlex.join(command)}")
    return time.perf_counter() - begun


def main() -> None:
    """Measure and print medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=9)
    runs, options = parser.parse_known_args()
    sep = str(Path(sys.executable).with_name("sep"))
    version, through, bare = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["SEP_HOME"] = name
        run = [sep, "run", str(CLIP), "--overwrite", *options]
        shown = subprocess.run(
            [*run, "--dry-run", "-v"], cwd=folder, capture_output=True, text=True, check=True
        )
        native = ["env", *shlex.split(shown.stdout)]
        for _ in range(runs.runs):
            version.append(seconds([sep, "--version"], folder))
            through.append(seconds(run, folder))
            bare.append(seconds(native, folder))
    a, b = statistics.median(through), statistics.median(bare)
    print(f"sep --version     {statistics.median(version):.3f} s")
    print(f"sep run           {a:.3f} s")
    print(f"the bare runtime  {b:.3f} s")
    print(f"overhead          {a - b:.3f} s, ratio {a / b:.3f}, medians of {runs.runs}")


if __name__ == "__main__":
    main()
