"""A folder of 500 files with 10 bad ones: killed in the middle, then resumed.

python benchmarks/batch.py [--files 500] [--bad 10] [sep run's options]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

RATE = 44100


def make(folder: Path, files: int, bad: int) -> None:
    """Write clips of 0.5 to 2 s in ten sub-folders; the bad ones are text, cut off or empty."""
    drawn = random.Random(0)
    chosen = set(drawn.sample(range(files), bad))
    for i in range(files):
        path = folder / f"disk {i % 10}" / f"take {i:03d}.wav"
        path.parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(i).standard_normal((round(RATE * drawn.uniform(0.5, 2)), 2))
        soundfile.write(path, noise * 0.05, RATE)
        if i in chosen:
            data = path.read_bytes()
            path.write_bytes((b"no audio", data[: len(data) // 2], b"")[i % 3])


def main() -> None:
    """Run, kill -9 the launcher half-way, resume; print what each run reported."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--bad", type=int, default=10)
    own, options = parser.parse_known_args()
    sep = str(Path(sys.executable).with_name("sep"))
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name, "music"), Path(name, "out")
        folder.mkdir()
        make(folder, own.files, own.bad)
        run = [sep, "run", str(folder), "--out", str(out), "--resume", *options]
        begun = time.perf_counter()
        with subprocess.Popen([*run, "--events", "-q"], stdout=subprocess.PIPE, text=True) as first:
            ended = 0
            for line in first.stdout or ():
                ended += '"event": "track-' in line
                if ended == own.files // 2:
                    os.kill(first.pid, signal.SIGKILL)
                    break
        print(f"killed after {ended} tracks, {time.perf_counter() - begun:.0f} s")
        time.sleep(3)
        begun = time.perf_counter()
        second = subprocess.run([*run, "--json", "-q"], capture_output=True, text=True, check=False)
        told = json.loads(second.stdout)
        tracks = told["tracks"]
        done = [each for each in tracks if each["done"]]
        print(
            f"resumed: exit code {second.returncode}, {len(tracks)} tracks, {len(done)} done "
            f"({sum(each['resumed'] for each in done)} of them by the first run), "
            f"{len(tracks) - len(done)} failed, {time.perf_counter() - begun:.0f} s"
        )
        for each in tracks:
            if not each["done"]:
                print(f"  {Path(each['mix']).name}: {each['message']}")
        hidden = [str(path) for path in out.rglob(".sep-*")]
        whole = len(list(out.rglob("sep.json")))
        print(f"on the disk: {whole} whole tracks, {len(hidden)} hidden folders left")


if __name__ == "__main__":
    main()
