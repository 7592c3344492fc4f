"""A mix shorter than a chunk: how much silence behind it, up to the model's own chunk?

PYTHONPATH=models/training python benchmarks/short_clips.py --kits DIR --grooves DIR
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import kits
import numpy as np
import torch
import validation
from mini import SHAPE
from score import Tally

import sep_runtime
from sep_runtime.models.mdx23c import short
from sep_runtime.models.prepared import Chunked

RATE = 44100
STEPS = (2, 3, 4, 5, 6, 7, 16)


def main() -> None:
    """Cut places out of the validation clips and score chunks of several lengths."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kits", type=Path, required=True)
    parser.add_argument("--grooves", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=8)
    own = parser.parse_args()
    bank, grooves = kits.read([own.kits], own.grooves, "validation")
    (kit,) = bank.values()
    rules = validation.RULES["set"]
    clips = validation.clips(kit, grooves, own.clips, rules)
    separator = sep_runtime.load("mdx23c-mini", device="cpu").loaded.separator
    if not isinstance(separator, Chunked):
        raise TypeError("the bundled model sees chunks")
    drawn = random.Random(0)
    print("mean SDR in dB; seconds, then chunks of so many steps; * is what sep takes")
    print(f"{'':7}" + "".join(f"{steps:8}" for steps in STEPS))
    for seconds in (0.1, 0.2, 0.3, 0.5, 1.0, 2.0):
        samples = round(seconds * RATE)
        sizes = {steps: SHAPE.chunk(steps) for steps in STEPS}
        tallies = {steps: Tally() for steps, size in sizes.items() if size >= samples}
        for clip in clips:
            for _ in range(4):
                at = drawn.randrange(clip.shape[-1] - samples)
                stems = clip.narrow(-1, at, samples)
                for steps, tally in tallies.items():
                    mix = torch.zeros(1, 2, sizes[steps])
                    mix[0, :, :samples] = stems.sum(0)
                    with torch.inference_mode():
                        found = separator.runner(mix)[0].narrow(-1, 0, samples)
                    tally.add(stems, found, validation.active(stems, rules))
        cells = [f"{'':8}"] * (len(STEPS) - len(tallies))
        for steps, tally in tallies.items():
            mean = np.mean([v for stem in tally.sdr.values() for v in stem if v is not None])
            taken = sizes[steps] == short(SHAPE, samples, separator.cut.chunk)
            cells.append(f"{mean:7.2f}" + ("*" if taken else " "))
        print(f"{seconds:7}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
