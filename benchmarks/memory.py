"""Peak memory of `sep run` against the length of the file.

python benchmarks/memory.py [--minutes 3 60 180] [sep run's options, as --model larsnet]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE = 44100

# In a process of its own, so that the peak is this run's alone.
MEASURED = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
print(done.stdout)
sys.exit(done.returncode)
"""


def measured(run: list[str]) -> tuple[int, dict[str, Any]]:
    """Return the most KiB that a process of a run had, and the document that it printed."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *run], stdout=subprocess.PIPE, text=True, check=True
    )
    peak, _, document = done.stdout.partition("\n")
    return int(peak), json.loads(document)


def main() -> None:
    """Make files of noise, separate them, print a row for each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=int, nargs="+", default=[3, 60, 180])
    own, options = parser.parse_known_args()
    sep = str(Path(sys.executable).with_name("sep"))
    print("minutes  peak MiB  seconds  frames in = frames out")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        drawn = np.random.default_rng(0)
        for minutes in own.minutes:
            mix = folder / f"{minutes}.wav"
            with soundfile.SoundFile(mix, "w", RATE, 2, "PCM_16") as file:
                for _ in range(minutes):
                    file.write((drawn.standard_normal((RATE * 60, 2)) * 3000).astype(np.int16))
            run = [sep, "run", str(mix), "--json", "--quiet", "--out", str(folder), *options]
            peak, told = measured(run)
            track = told["tracks"][0]
            same = track["frames"] == minutes * 60 * RATE
            print(f"{minutes:7} {peak / 1024:9.0f} {told['seconds']:8.1f}  {same}", flush=True)
            for stem in track["stems"].values():
                same = soundfile.info(stem).frames == track["frames"]
                Path(stem).unlink()
                if not same:
                    sys.exit(f"{stem} has other frames")
            mix.unlink()


if __name__ == "__main__":
    main()
