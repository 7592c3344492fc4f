"""A mix shorter than a chunk: the smallest chunk that holds it, or silence up to the whole one?

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
from score import Tally

import sep_runtime
from sep_runtime.mdx23c import Mdx23c

RATE = 44100


def main() -> None:
    """Cut loud places out of the validation clips and score both ways."""
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
    if not isinstance(separator, Mdx23c):
        raise TypeError("the bundled model is an MDX23C")
    drawn = random.Random(0)
    print("seconds  smallest chunk  padded to the model's  (mean SDR in dB)")
    for seconds in (0.3, 0.5, 1.0, 2.0):
        samples = round(seconds * RATE)
        small, padded = Tally(), Tally()
        for clip in clips:
            for _ in range(4):
                at = drawn.randrange(clip.shape[-1] - samples)
                stems = clip.narrow(-1, at, samples)
                for tally, size in (
                    (small, separator.short(samples)),
                    (padded, separator.cut.chunk),
                ):
                    mix = torch.zeros(1, 2, size)
                    mix[0, :, :samples] = stems.sum(0)
                    with torch.inference_mode():
                        found = separator.network(mix)[0].narrow(-1, 0, samples)
                    tally.add(stems, found, validation.active(stems, rules))
        means = [
            np.mean([v for stem in t.sdr.values() for v in stem if v is not None])
            for t in (small, padded)
        ]
        print(f"{seconds:7} {means[0]:15.2f} {means[1]:22.2f}")


if __name__ == "__main__":
    main()
