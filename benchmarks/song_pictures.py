"""Draw a song, its drums, the parts of these by the bundled model, and what they leave of the song.

PYTHONPATH=models/training python benchmarks/song_pictures.py SONG --seconds 12 --out docs/songs.png

SONG is a folder that benchmarks/songs.py made: its drums are known, and stand for those of a model
for songs that makes no errors. Needs `matplotlib`, which nothing else here does.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile
import torch
from matplotlib import pyplot as plt
from pictures import BANDS, FLOOR_DB, HIGHEST, LOWEST, spectrogram
from stems import RATE

import sep_runtime

TICKS = {"100 Hz": 100, "1 kHz": 1e3, "10 kHz": 1e4}


def main() -> None:
    """Separate the drums and draw a row for each sound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("song", type=Path)
    parser.add_argument("--begin", type=float, default=4.0)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--out", type=Path, required=True)
    own = parser.parse_args()
    begin, end = (round(each * RATE) for each in (own.begin, own.begin + own.seconds))
    song, drums = (
        soundfile.read(own.song / f"{name}.wav", dtype="float32", always_2d=True)[0][begin:end].T
        for name in ("mix", "drums")
    )
    parts = sep_runtime.load(device="cpu").separate(drums, RATE)
    rows = {"song": song, "drums": drums, **parts, "rest": song - sum(parts.values())}
    draw({name: torch.from_numpy(np.asarray(each)) for name, each in rows.items()}, own.out)


def draw(rows: dict[str, torch.Tensor], file: Path) -> None:
    """Draw spectrograms [2, T] above each other, all to one scale."""
    figure, axes = plt.subplots(len(rows), 1, figsize=(9, 10), dpi=70, sharex=True)
    pictures = {name: spectrogram(audio) for name, audio in rows.items()}
    top = max(float(each.max()) for each in pictures.values())
    for place, (name, picture) in zip(axes, pictures.items(), strict=True):
        place.imshow(
            picture,
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=top + FLOOR_DB,
            vmax=top,
            extent=(0, rows[name].shape[-1] / RATE, 0, BANDS),
        )
        at = [BANDS * np.log(each / LOWEST) / np.log(HIGHEST / LOWEST) for each in TICKS.values()]
        place.set_yticks(at, list(TICKS), fontsize=7)
        place.set_ylabel(name)
    figure.supxlabel(f"s; black is {-FLOOR_DB:.0f} dB under the loudest band")
    figure.tight_layout()
    figure.savefig(file)


if __name__ == "__main__":
    main()
