"""Score weights on the validation set: SDR per stem, leakage, bounds, speed."""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import kits
import numpy as np
import torch
from kits import Groove, Kit
from mini import CHUNK, SHAPE
from render import validation_clip
from safetensors.torch import load_file
from stems import RATE, STEMS
from torch import Tensor

from sep_runtime.mdx23c import Mdx23c, cut_for
from sep_runtime.nets.stft import Stft
from sep_runtime.nets.tfc_tdf import TfcTdf

CLIPS = 24
SECONDS = 12
SILENT = -160.0  # dBFS given to a leakage of nothing at all


@dataclass
class Tally:
    """Figures of one way of separating, clip by clip."""

    sdr: dict[str, list[float]] = field(default_factory=lambda: {stem: [] for stem in STEMS})
    leakage: dict[str, list[float]] = field(default_factory=lambda: {stem: [] for stem in STEMS})

    def add(self, stems: Tensor, found: Tensor) -> None:
        """Count a clip of references and estimates [5, 2, T]."""
        for name, reference, estimate in zip(STEMS, stems.double(), found.double(), strict=True):
            power = float(reference.square().sum())
            if power:
                error = float((reference - estimate).square().sum())
                self.sdr[name].append(10 * math.log10(power / max(error, 1e-20)))
            else:
                mean = float(estimate.square().mean())
                self.leakage[name].append(10 * math.log10(mean) if mean > 1e-16 else SILENT)

    def means(self) -> dict[str, float]:
        """Return the mean SDR of every stem, and "mean", the mean of those."""
        found = {stem: float(np.mean(values)) for stem, values in self.sdr.items() if values}
        return found | {"mean": float(np.mean(list(found.values())))}


def oracle(stems: Tensor, shape: Stft) -> Tensor:
    """[5, 2, T] to the same by the ideal ratio mask (of powers), which knows the answer."""
    chunk = stems.shape[-1] // shape.hop * shape.hop
    spectra = shape(stems[..., :chunk])
    powers = spectra.abs().square()
    masks = powers / powers.sum(0, keepdim=True).clamp_min(1e-12)
    found = shape.inverse(masks * spectra.sum(0, keepdim=True))
    return torch.nn.functional.pad(found, (0, stems.shape[-1] - chunk))


def validation_set(bank: dict[str, Kit], grooves: list[Groove], clips: int) -> list[Tensor]:
    """Return clips [5, 2, T]; the bank holds the one validation kit."""
    (kit,) = bank.values()
    length = SECONDS * RATE
    return [
        torch.from_numpy(validation_clip(index, kit, grooves, length)) for index in range(clips)
    ]


@torch.inference_mode()
def separated(net: TfcTdf, mix: Tensor, batch: int) -> Tensor:
    """[2, T] to [5, 2, T], as sep separates."""
    cut = cut_for(net.shape, CHUNK, overlap=2.0, batch=batch)
    stream = Mdx23c(net, stems=STEMS, sample_rate=RATE, cut=cut).stream()
    return torch.cat((stream.push(mix), stream.finish()), -1)


def score_net(net: TfcTdf, clips: list[Tensor], batch: int = 1) -> tuple[Tally, float]:
    """Return the tally of a network and its speed in times real time."""
    tally = Tally()
    device = next(net.parameters()).device
    started = time.perf_counter()
    for stems in clips:
        tally.add(stems, separated(net, stems.sum(0).to(device), batch).cpu())
    taken = time.perf_counter() - started
    return tally, sum(clip.shape[-1] for clip in clips) / RATE / taken


def bounds(clips: list[Tensor]) -> tuple[Tally, Tally]:
    """Return the tallies of the untouched mix and of the oracle ratio mask."""
    untouched, ideal = Tally(), Tally()
    shape = Stft(SHAPE.n_fft, SHAPE.hop)
    for stems in clips:
        untouched.add(stems, stems.sum(0).expand_as(stems))
        ideal.add(stems, oracle(stems, shape))
    return untouched, ideal


def table(rows: dict[str, Tally]) -> str:
    """Return SDR in dB by stem, and below it the leakage into silent stems in dBFS."""
    head = f"{'SDR, dB':16}" + "".join(f"{name:>9}" for name in (*STEMS, "mean"))
    lines = [head]
    for name, tally in rows.items():
        means = tally.means()
        cells = "".join(f"{means.get(stem, math.nan):9.2f}" for stem in (*STEMS, "mean"))
        lines.append(f"{name:16}{cells}")
    for name, tally in rows.items():
        cells = "".join(
            f"{np.mean(values):9.1f}" if values else f"{'-':>9}"
            for values in tally.leakage.values()
        )
        lines.append(f"{name + ' leak':16}{cells}")
    return "\n".join(lines)


def load_net(path: Path) -> TfcTdf:
    """Return the network with weights of any float type, computing in float32."""
    net = TfcTdf(SHAPE)
    net.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    return net.eval()


def main() -> None:
    """Print the table; with --json, the figures clip by clip too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path, nargs="?", help="without it, the bounds alone")
    parser.add_argument("--kits", type=Path, required=True)
    parser.add_argument("--grooves", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=CLIPS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    clips = validation_set(*kits.read(options.kits, options.grooves, "validation"), options.clips)
    untouched, ideal = bounds(clips)
    rows = {"untouched mix": untouched, "oracle mask": ideal}
    speed = math.nan
    if options.weights:
        rows["network"], speed = score_net(load_net(options.weights), clips)
    print(table(rows))
    print(f"{options.clips} clips of {SECONDS} s; network at {speed:.2f} x real time")
    if options.json:
        found = {name: asdict(tally) | {"means": tally.means()} for name, tally in rows.items()}
        options.json.write_text(json.dumps({"speed": speed, "rows": found}, indent=1))


if __name__ == "__main__":
    main()
