"""A model here beside the field's own scheme on torch's plain operators, by turns in one process.

python benchmarks/field.py MODEL [--config YAML] [--seconds 30] [--runs 3] [--precision fp32]

For MDX23C the scheme is `demix` of the public training tools, one chunk at a time; for LarsNet its
original pass: for every stem an STFT of the whole file, all blocks of it in one batch, no stream.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch.nn import functional

import sep_runtime
from sep_runtime.accel import operators, tuning
from sep_runtime.baselines import demix
from sep_runtime.models.larsnet import HOP, N_FFT, LarsNet
from sep_runtime.models.precision import golden
from sep_runtime.nets.unet import BINS, FRAMES

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from sep_runtime.models.larsnet import Masks


def whole_file(masks: Masks, mix: Tensor) -> tuple[Tensor, int]:
    """[2, T] to ([S, 2, T], blocks)."""
    window = torch.hann_window(N_FFT)
    stems, blocks = [], 0
    with operators.plain():
        for network in masks.networks:
            spectrum = torch.stft(mix, N_FFT, HOP, window=window, return_complex=True)
            magnitude = spectrum.abs().narrow(-2, 0, BINS)
            frames = magnitude.shape[-1]
            padded = functional.pad(magnitude, (0, -frames % FRAMES))
            batch = padded.view(2, BINS, -1, FRAMES).permute(2, 0, 1, 3)
            blocks = len(batch)
            mask = network(batch).permute(1, 2, 0, 3).flatten(-2).narrow(-1, 0, frames)
            masked = functional.pad(mask, (0, 0, 0, 1)) * spectrum
            stems.append(torch.istft(masked, N_FFT, HOP, window=window, length=mix.shape[-1]))
    return torch.stack(stems), blocks


def main() -> None:
    """Print the medians, the chunks and the ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--config")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--precision", default="fp32")
    wanted = parser.parse_args()
    named = (
        {"checkpoint": wanted.model, "settings": wanted.config}
        if wanted.config
        else {"folder": wanted.model, "name": "larsnet"}
        if Path(wanted.model).is_dir()
        else {"name": wanted.model}
    )
    model = sep_runtime.load(**named, device="cpu", precision=wanted.precision)
    separator, exact = model.loaded.separator, model.loaded.runner.exact()
    rate = separator.sample_rate
    frames = round(wanted.seconds * rate)
    sound = golden(frames)[0]
    mix = sound.numpy()

    def ours() -> int:
        passed = model.open(sample_rate=rate, channels=2)
        found = np.empty((len(model.stems), 2, frames), np.float32)
        done = 0
        for block in passed.run(np.array_split(mix, max(1, frames >> 16), axis=1)):
            found[..., done : done + block.shape[-1]] = block
            done += block.shape[-1]
        return passed.chunks

    def theirs() -> int:
        with torch.inference_mode():
            if isinstance(separator, LarsNet):
                return whole_file(cast("Masks", exact.network), sound)[1]
            cut = separator.cut
            cpu = torch.device("cpu")
            return demix(exact, sound, cut.chunk, cut.hop, batch=1, device=cpu)[1]

    sides: dict[str, Callable[[], int]] = {"sep": ours, "field": theirs}
    ours()  # tunes
    times: dict[str, list[float]] = {name: [] for name in sides}
    chunks = {}
    for _ in range(wanted.runs):
        for name, run in sides.items():
            begun = time.perf_counter()
            chunks[name] = run()
            times[name].append(time.perf_counter() - begun)
    for name, each in times.items():
        median = statistics.median(each)
        print(
            f"{name:6} {median:8.2f} s  {wanted.seconds / median:6.2f} x real time  "
            f"{chunks[name]} chunks  {min(each):.2f} to {max(each):.2f} s"
        )
    pairs = [b / a for a, b in zip(times["sep"], times["field"], strict=True)]
    print(f"ratio  {statistics.median(pairs):8.2f}  {min(pairs):.2f} to {max(pairs):.2f}")
    print(f"threads {torch.get_num_threads()}, {model.running}")
    for row in tuning.TABLE.used():
        print(f"  {row.operator} {row.shape}: {row.way}, {row.plain_ms} to {row.ms} ms")


if __name__ == "__main__":
    main()
