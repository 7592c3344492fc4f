"""Render examples/groove.flac: twelve seconds of drums from `synth` alone."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile
import synth
from stems import RATE, Audio, decibels

BPM = 108.0
BARS = 5
# Step strings of sixteen sixteenths; upper case is an accent, '.' a rest.
GROOVE = {
    "kick": "X..x..x.X.x.....",
    "snare": "....X..g....X.g.",
    "closed": "X.x.x.x.X.x.x...",
    "open": "..............x.",
}
FILL = {
    "kick": "X.......X.......",
    "snare": "X.xx....gg......",
    "tom1": "....Xx.x........",
    "tom2": "........XxX.....",
    "tom3": "...........XXxXX",
    "pedal": "x...x...x...x...",
}
LAST = {
    "kick": "X..x..X.........",
    "crash": "X...............",
    "ride": "..X.x.X.X.......",
    "bell": "....X...",
}
LEVEL = {"X": 1.0, "x": 0.62, "g": 0.22}
LEVELS_DB = {"kick": -1, "snare": -2, "rim": -2, "tom1": -3, "tom2": -3, "tom3": -2, "closed": -15}
LEVELS_DB |= {"open": -16, "pedal": -20, "crash": -9, "ride": -13, "bell": -15, "side": -6}
PANS = {"tom1": 0.3, "tom2": 0.5, "tom3": 0.7, "closed": 0.36, "open": 0.36, "pedal": 0.36}
PANS |= {"crash": 0.3, "ride": 0.72, "bell": 0.72}


def bars() -> list[dict[str, str]]:
    """Return the song: groove, the same with ride and crash, a fill, and an ending."""
    riding = {role: steps for role, steps in GROOVE.items() if role not in ("closed", "open")}
    riding |= {"crash": "X...............", "ride": "..x.X.x.x.x.X.x.", "pedal": "....x.......x..."}
    return [GROOVE | {"crash": "X..............."}, GROOVE, riding, FILL, LAST]


def render(seed: int, seconds: float) -> Audio:
    """[2, T]: the song at peak -3 dBFS."""
    rng = np.random.default_rng(seed)
    sounds = {
        role: synth.hit(np.random.default_rng([seed, i]), role) for i, role in enumerate(LEVELS_DB)
    }
    step = 60 / BPM / 4
    mix = np.zeros((2, int(seconds * RATE)), np.float32)
    for bar, patterns in enumerate(bars()):
        for role, steps in patterns.items():
            for index, mark in enumerate(steps):
                if mark == ".":
                    continue
                late = step * 0.12 * (index % 2) + abs(rng.normal(0, 0.002))
                start = int(((bar * 16 + index) * step + late) * RATE)
                gain = decibels(LEVELS_DB[role]) * LEVEL[mark] * rng.uniform(0.93, 1)
                pan = PANS.get(role, 0.5)
                sides = np.array([[np.cos(pan * np.pi / 2)], [np.sin(pan * np.pi / 2)]], np.float32)
                sound = sounds[role] * np.float32(gain) * sides
                stop = min(start + sound.shape[1], mix.shape[1])
                mix[:, start:stop] += sound[:, : max(stop - start, 0)]
    fade = int(RATE * 0.5)
    mix[:, -fade:] *= np.cos(np.linspace(0, np.pi / 2, fade, dtype=np.float32)) ** 2
    return mix * np.float32(decibels(-3) / np.abs(mix).max())


def main() -> None:
    """Write the file named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=Path("examples/groove.flac"))
    parser.add_argument("--seed", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=12.0)
    options = parser.parse_args()
    mix = render(options.seed, options.seconds)
    dither = np.random.default_rng(0).uniform(-0.5, 0.5, mix.shape)
    pcm = np.round(mix * 32767 + dither).astype(np.int16)
    soundfile.write(options.file, pcm.T, RATE, subtype="PCM_16")
    peak = 20 * np.log10(np.abs(mix).max())
    print(f"{options.file}: {mix.shape[1] / RATE:.1f} s, peak {peak:.1f} dBFS")


if __name__ == "__main__":
    main()
