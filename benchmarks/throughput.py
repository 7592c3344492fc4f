"""How many tracks an hour many workers do, beside one: whole commands, both in one run.

python benchmarks/throughput.py SONG [--tracks 24] [--minutes 4] [--runs 3] --try '-j 1' '-j 2' ...
    [sep run's options, as --model X]

The song is repeated to a length; every track is another gain of it, so none is another's copy. The
ways that are tried take turns; medians, and ratios to the first one.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile


def main() -> None:
    """Make the tracks, run every way, print a row for each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("song", type=Path)
    parser.add_argument("--tracks", type=int, default=24)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where tracks and stems go for the time")
    parser.add_argument("--try", dest="ways", nargs="+", default=["-j 1", "-j 2"])
    own, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory(dir=own.folder) as name:
        folder = Path(name)
        mixes = folder / "music"
        mixes.mkdir()
        _make(own.song, mixes, own.tracks, own.minutes)
        audio = own.tracks * own.minutes * 60
        found: dict[str, list[float]] = {way: [] for way in own.ways}
        for _ in range(own.runs):
            for way in own.ways:
                found[way].append(_seconds(mixes, folder / "out", [*shlex.split(way), *options]))
                print(f"  {way}: {found[way][-1]:.1f} s", flush=True)
        first = statistics.median(found[own.ways[0]])
        print("way                        seconds  times real time  tracks an hour  ratio")
        for way, seconds in found.items():
            middle = statistics.median(seconds)
            hourly = own.tracks * 3600 / middle
            print(
                f"{way:26} {middle:7.1f} {audio / middle:16.1f} "
                f"{hourly:15.0f} {first / middle:6.2f}"
            )


def _make(song: Path, folder: Path, tracks: int, minutes: float) -> None:
    samples, rate = soundfile.read(song, dtype="float32", always_2d=True)
    count = round(minutes * 60 * rate)
    whole = np.tile(samples, (-(-count // len(samples)), 1))[:count]
    for number in range(tracks):
        soundfile.write(folder / f"{number:03d}.flac", whole * (1 - number / 100), rate)


def _seconds(mixes: Path, out: Path, options: list[str]) -> float:
    """Run one command on an empty folder; return the seconds that it says it took."""
    command = [sys.executable, "-P", "-m", "sep_launcher", "run", str(mixes), "-o", str(out)]
    done = subprocess.run(
        [*command, "--json", "-q", *options], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr or done.stdout)
    shutil.rmtree(out)
    return float(json.loads(done.stdout)["seconds"])


if __name__ == "__main__":
    main()
