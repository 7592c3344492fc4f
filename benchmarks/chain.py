"""Time, memory and exactness of whole songs through a chain, by whole commands.

python benchmarks/chain.py SONG [--minutes 4 40] [sep run's options, as --from-mix htdemucs]

The song is repeated to each length. Peak memory is that of the largest process, the runtime's. The
stems are floats; what they sum to is compared with the song, block by block.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import soundfile
from memory import measured

BLOCK = 1 << 18
SUMMED = ("kick", "snare", "toms", "hihat", "cymbals", "ride", "crash", "rest")


def main() -> None:
    """Repeat the song, separate it, print a row for each length."""
    parser = argparse.ArgumentParser()
    parser.add_argument("song", type=Path)
    parser.add_argument("--minutes", type=float, nargs="+", default=[4, 40])
    own, options = parser.parse_known_args()
    sep = [sys.executable, "-P", "-m", "sep_launcher"]
    print("minutes  seconds  times real time  peak MiB  sum beside the song, dB")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for minutes in own.minutes:
            mix = folder / "song.wav"
            _repeat(own.song, mix, minutes * 60)
            run = [*sep, "run", str(mix), "--json", "--quiet", "--bit-depth", "float"]
            run += ["--out", str(folder), "--overwrite", *options]
            peak, told = measured(run)
            track = told["tracks"][0]
            length = track["frames"] / track["sample_rate"]
            off = _beside(mix, [file for stem, file in track["stems"].items() if stem in SUMMED])
            print(
                f"{minutes:7g} {told['seconds']:8.1f} {length / told['seconds']:16.2f} "
                f"{peak / 1024:9.0f} {off:24.1f}",
                flush=True,
            )
            print(f"        {told['device']['name']}, {told['phases']}", flush=True)


def _repeat(song: Path, to: Path, seconds: float) -> None:
    samples, rate = soundfile.read(song, dtype="float32", always_2d=True)
    left = round(seconds * rate)
    with soundfile.SoundFile(to, "w", rate, samples.shape[1], "PCM_24") as file:
        while left > 0:
            file.write(samples[:left])
            left -= len(samples[:left])


def _beside(mix: Path, stems: list[str]) -> float:
    """Return the largest difference of the stems' sum from the mix, in dB below its peak."""
    peak = off = 0.0
    with ExitStack() as files:
        song, *parts = [files.enter_context(soundfile.SoundFile(each)) for each in (mix, *stems)]
        while len(true := song.read(BLOCK, dtype="float64", always_2d=True)):
            total = sum(part.read(BLOCK, dtype="float64", always_2d=True) for part in parts)
            off = max(off, float(np.abs(total - true).max()))
            peak = max(peak, float(np.abs(true).max()))
    return 20 * math.log10(off / peak) if off else -math.inf


if __name__ == "__main__":
    main()
