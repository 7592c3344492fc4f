"""Draw the curve of training, and spectrograms of a clip's stems beside what a network found.

Needs `matplotlib`, which nothing else here does.
"""

from __future__ import annotations

import argparse
import csv
from itertools import pairwise
from pathlib import Path

import kits
import matplotlib as mpl
import numpy as np
import score
import torch
import validation
from matplotlib import pyplot as plt
from stems import RATE, STEMS
from torch import Tensor

mpl.use("Agg")
FLOOR_DB = -80.0
BANDS, LOWEST, HIGHEST = 96, 40.0, 20000.0  # of a spectrogram, in Hz


def draw_curve(curves: list[Path], file: Path) -> None:
    """Plot SDR of the acoustic validation kit over the steps of runs that follow one another."""
    figure, axes = plt.subplots(figsize=(8, 4.4), dpi=90)
    before = 0
    for index, path in enumerate(curves):
        rows = list(csv.DictReader(path.open()))
        for colour, name in enumerate((*STEMS, "mean")):
            axes.plot(
                [before + int(row["step"]) for row in rows],
                [float(row[name]) for row in rows],
                color=f"C{colour}",
                marker=".",
                label=None if index else name,
                linewidth=2.5 if name == "mean" else 1.2,
            )
        axes.axvline(before, color="0.6", linestyle=":", linewidth=1)
        axes.text(
            before,
            1.01 + 0.09 * (index % 2),  # some runs are short
            path.stem,
            rotation=25,
            fontsize=7,
            transform=axes.get_xaxis_transform(),
        )
        before += int(rows[-1]["step"])
    axes.set_xlabel("step, all runs")
    axes.set_ylabel("SDR, dB")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, ncols=len(STEMS) + 1, loc="lower right")
    figure.tight_layout()
    figure.savefig(file)


def spectrogram(audio: Tensor) -> np.ndarray:
    """[2, T] to [bands, frames] in dB: 96 bands, evenly spaced in pitch from 40 Hz to 20 kHz."""
    window = torch.hann_window(2048)
    spectrum = torch.stft(audio.mean(0), 2048, 1024, window=window, return_complex=True)
    power = spectrum.abs().square()
    edges = np.geomspace(LOWEST, HIGHEST, BANDS + 1) * 2048 / RATE
    rows = [power[int(low) : max(int(high), int(low) + 1)].mean(0) for low, high in pairwise(edges)]
    return np.asarray(10 * torch.log10(torch.stack(rows) + 1e-9))


def draw_stems(stems: Tensor, found: Tensor, file: Path) -> None:
    """Draw the stems [5, 2, T] in the left column and what was found in the right."""
    figure, axes = plt.subplots(5, 2, figsize=(8, 7), dpi=70, sharex=True, sharey=True)
    top = max(spectrogram(stems[i]).max() for i in range(5))
    for row, name in enumerate(STEMS):
        for column, audio in enumerate((stems[row], found[row])):
            axes[row, column].imshow(
                spectrogram(audio),
                origin="lower",
                aspect="auto",
                cmap="magma",
                vmin=top + FLOOR_DB,
                vmax=top,
                extent=(0, audio.shape[-1] / RATE, 0, BANDS),
            )
            ticks = [BANDS * np.log(f / LOWEST) / np.log(HIGHEST / LOWEST) for f in (100, 1e3, 1e4)]
            axes[row, column].set_yticks(ticks, ["100 Hz", "1 kHz", "10 kHz"], fontsize=7)
        axes[row, 0].set_ylabel(name)
    axes[0, 0].set_title("rendered")
    axes[0, 1].set_title("found in the mix")
    figure.supxlabel(f"s; black is {-FLOOR_DB:.0f} dB under the loudest band")
    figure.tight_layout()
    figure.savefig(file)


def main() -> None:
    """Write OUT/curve.png of the curves, and OUT/stems.png of a validation clip."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curves", type=Path, nargs="+", default=[])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--kits", type=Path, nargs="+")
    parser.add_argument("--grooves", type=Path)
    parser.add_argument("--clip", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.curves:
        draw_curve(options.curves, options.out / "curve.png")
    if options.weights:
        bank, grooves = kits.read(options.kits, options.grooves, "validation")
        kit = bank["open_source_drumkit"]
        length = validation.SECONDS * RATE
        rules = validation.RULES["set"]
        stems = torch.from_numpy(validation.clip(options.clip, kit, grooves, length, rules))
        net, cut = score.load_net(options.weights)
        found = score.separated(net, stems.sum(0), cut)
        draw_stems(stems, found, options.out / "stems.png")


if __name__ == "__main__":
    main()
