"""Check seeded renders: loudness, crest factor, balance, and spectrograms to look at.

The ranges are a judgement of what drum buses are like, wide on purpose; no record was measured.
A median outside says that levels or effects are off, not that one clip is.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import kits
import numpy as np
import torch
from pool import vary
from random_clips import draw_clip
from scipy.signal import lfilter
from stems import RATE, STEMS, Audio

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

BLOCK, STEP = int(0.4 * RATE), int(0.1 * RATE)
# Figures of a drum bus: lowest and highest median that is plausible.
PLAUSIBLE = {
    "loudness to peak, dB": (-22.0, -8.0),
    "crest factor, dB": (9.0, 22.0),
    "below 150 Hz, %": (20.0, 85.0),
    "above 5 kHz, %": (1.0, 30.0),
    "sides to middle, dB": (-35.0, -6.0),
}


def k_weighting() -> tuple[tuple[list[float], list[float]], ...]:
    """Return the shelf and the high-pass of ITU-R BS.1770-4 at `RATE`.

    The standard lists coefficients for 48 kHz; these are the analogue filters behind them, as
    libebur128 has them.
    """
    k, q = np.tan(np.pi * 1681.974450955533 / RATE), 0.7071752369554196
    high = 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    a0 = 1 + k / q + k * k
    shelf = (
        [
            (high + band * k / q + k * k) / a0,
            2 * (k * k - high) / a0,
            (high - band * k / q + k * k) / a0,
        ],
        [1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0],
    )
    k, q = np.tan(np.pi * 38.13547087602444 / RATE), 0.5003270373238773
    a0 = 1 + k / q + k * k
    return shelf, ([1.0, -2.0, 1.0], [1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0])


def loudness(audio: Audio) -> float:
    """[2, T] to integrated loudness in LUFS, gated as in BS.1770."""
    weighted = audio.astype(np.float64)
    for forward, back in k_weighting():
        weighted = lfilter(forward, back, weighted)
    power = np.cumsum(np.pad(np.square(weighted).sum(0), (1, 0)))
    starts = np.arange(0, audio.shape[1] - BLOCK + 1, STEP)
    blocks = (power[starts + BLOCK] - power[starts]) / BLOCK
    blocks = blocks[_lufs(blocks) > -70]
    if not blocks.size:
        return -70.0
    blocks = blocks[_lufs(blocks) > _lufs(blocks.mean()) - 10]
    return float(_lufs(blocks.mean()))


def _lufs(power: NDArray[np.float64]) -> NDArray[np.float64]:
    return -0.691 + 10 * np.log10(np.maximum(power, 1e-12))


def figures(mix: Audio) -> dict[str, float]:
    """[2, T] to the figures of `PLAUSIBLE`."""
    peak = max(float(np.abs(mix).max()), 1e-6)
    rms = max(float(np.sqrt(np.square(mix).mean())), 1e-9)
    power = np.square(np.abs(np.fft.rfft(mix))).sum(0)
    frequency = np.fft.rfftfreq(mix.shape[1], 1 / RATE)
    middle, side = mix.mean(0), (mix[0] - mix[1]) / 2
    ratio = np.square(side).sum() / max(float(np.square(middle).sum()), 1e-9)
    values = (
        loudness(mix) - 20 * np.log10(peak),
        20 * np.log10(peak / rms),
        100 * power[frequency < 150].sum() / power.sum(),
        100 * power[frequency > 5000].sum() / power.sum(),
        10 * np.log10(ratio + 1e-6),
    )
    return dict(zip(PLAUSIBLE, map(float, values), strict=True))


def table(rows: list[dict[str, float]]) -> tuple[str, bool]:
    """Return lines with percentiles beside the range, and whether all medians lie within."""
    lines = [f"{'':24}{'5 %':>8}{'50 %':>8}{'95 %':>8}   plausible median"]
    good = True
    for name, (low, high) in PLAUSIBLE.items():
        few, median, many = np.percentile([row[name] for row in rows], (5, 50, 95))
        within = bool(low <= median <= high)
        good &= within
        verdict = "" if within else "  OUTSIDE"
        lines.append(f"{name:24}{few:8.1f}{median:8.1f}{many:8.1f}   {low:g} to {high:g}{verdict}")
    return "\n".join(lines), good


def draw(mixes: list[Tensor], file: Path) -> None:
    """Draw spectrograms of up to eight mixes [2, T]."""
    import matplotlib.pyplot as plt  # noqa: PLC0415  the figures do not need it
    from pictures import spectrogram  # noqa: PLC0415

    file.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(4, 2, figsize=(9, 8), dpi=70, sharex=True)
    for axis, mix in zip(axes.flat, mixes, strict=False):
        axis.imshow(spectrogram(mix), origin="lower", aspect="auto", cmap="magma")
    for axis in axes.flat:
        axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(file)


def main() -> None:
    """Print the table and write OUT/renders.png; leave with 1 where a median is outside."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", type=Path, required=True, help="folder written by pack.py")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.out and find_spec("matplotlib") is None:
        parser.error("--out needs matplotlib")
    bank, grooves = kits.load(options.pack / "train.npz")
    torch.manual_seed(options.seed)
    rows, levels, shown = [], [], []
    for index in range(options.clips):
        clip = draw_clip(np.random.default_rng([options.seed, index]), bank, grooves)
        if not clip.any():
            continue
        stems = vary(torch.from_numpy(clip / np.abs(clip.sum(0)).max())[None])[0]
        mix = stems.sum(0)
        rows.append(figures(mix.numpy()))
        power = stems.double().square().sum((1, 2))
        levels.append((10 * torch.log10(power / power.sum() + 1e-9)).numpy())
        shown.append(mix)
    text, good = table(rows)
    print(text)
    print(f"{'stems to the mix, dB':24}{'25 %':>8}{'50 %':>8}{'75 %':>8}")
    for place, stem in enumerate(STEMS):
        heard = [row[place] for row in levels if row[place] > -60]
        print(
            f"{stem:24}" + "".join(f"{value:8.1f}" for value in np.percentile(heard, (25, 50, 75)))
        )
    if options.out:
        draw(shown[:8], options.out / "renders.png")
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
