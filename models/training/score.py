"""Score weights on the validation sets: SDR, SI-SDR, leakage, bounds, kit types, density, speed."""

from __future__ import annotations

import argparse
import json
import math
import time
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import kits
import numpy as np
import torch
import validation
from mini import CHUNK, OVERLAP, SHAPE
from safetensors.torch import load_file
from stems import RATE, STEMS, decibels
from torch import Tensor

from sep_runtime.models import mdx23c
from sep_runtime.models.mdx23c import cut_for
from sep_runtime.models.prepared import shape_of
from sep_runtime.models.running import Runner
from sep_runtime.nets.stft import Stft
from sep_runtime.nets.tfc_tdf import TfcTdf, TfcTdfShape
from sep_runtime.streams.overlap import open_stream

if TYPE_CHECKING:
    from sep_runtime.streams.overlap import Chunking

SILENT = -160.0  # dBFS given to a leakage of nothing at all
KIT_TYPES = {"open_source_drumkit": "acoustic", "sonic_pi": "electronic"}


def _lists() -> dict[str, list[float | None]]:
    return {stem: [] for stem in STEMS}


@dataclass
class Tally:
    """Figures in dB of one way of separating, clip by clip; None where there is none."""

    sdr: dict[str, list[float | None]] = field(default_factory=_lists)
    si_sdr: dict[str, list[float | None]] = field(default_factory=_lists)
    leakage: dict[str, list[float | None]] = field(default_factory=_lists)  # RMS in dBFS
    rest: list[float] = field(default_factory=list)  # mix less the sum of stems, to the mix
    named: list[list[list[float]]] = field(default_factory=list)  # clips of `named`; nan: silent

    def add(self, stems: Tensor, found: Tensor, active: list[bool]) -> None:
        """Count a clip of references and estimates [5, 2, T]."""
        parts = zip(STEMS, stems.double(), found.double(), active, strict=True)
        for name, reference, estimate, counts in parts:
            products = (reference * reference, reference * estimate, estimate * estimate)
            power, cross, own = torch.stack([product.sum() for product in products]).tolist()
            error = float((reference - estimate).square().sum())
            scale = cross / max(power, 1e-20)
            off = own - scale * cross
            mean = own / estimate.numel()
            self.sdr[name].append(_ratio(power, error) if counts else None)
            self.si_sdr[name].append(_ratio(scale * scale * power, off) if counts else None)
            leak = 10 * math.log10(mean) if mean > 1e-16 else SILENT
            self.leakage[name].append(None if power else leak)
        mix = stems.double().sum(0)
        off = float((mix - found.double().sum(0)).square().sum())
        self.rest.append(_ratio(off, float(mix.square().sum())))

    def means(self, what: str = "sdr", only: list[bool] | None = None) -> dict[str, float]:
        """Return the mean of every stem over clips, and "mean", the mean of those."""
        found = {}
        for stem, values in getattr(self, what).items():
            kept = only or [True] * len(values)
            counted = [v for v, keep in zip(values, kept, strict=True) if keep and v is not None]
            if counted:
                found[stem] = float(np.mean(counted))
        return found | ({"mean": float(np.mean(list(found.values())))} if found else {})


def _ratio(signal: float, error: float) -> float:
    return 10 * math.log10(max(signal, 1e-20) / max(error, 1e-20))


def oracle(stems: Tensor, shape: Stft) -> Tensor:
    """[5, 2, T] to the same by the ideal ratio mask (of powers), which knows the answer."""
    chunk = stems.shape[-1] // shape.hop * shape.hop
    spectra = shape(stems[..., :chunk])
    powers = spectra.abs().square()
    masks = powers / powers.sum(0, keepdim=True).clamp_min(1e-12)
    found = shape.inverse(masks * spectra.sum(0, keepdim=True))
    return torch.nn.functional.pad(found, (0, stems.shape[-1] - chunk))


def named(stems: Tensor, found: Tensor, shape: Stft) -> Tensor:
    """[5, 2, T] twice to [5, 5]: the part of each stem's energy (row) that each estimate gets.

    A bin goes to the estimates by their magnitudes there; the row of a silent stem is nan.
    """
    length = stems.shape[-1] // shape.hop * shape.hop
    power = shape(stems[..., :length]).abs().square().double()
    size = shape(found[..., :length]).abs().double()
    share = size / size.sum(0, keepdim=True).clamp_min(1e-9)
    energy = power.flatten(1).sum(1)
    parts: Tensor = torch.einsum("actf,bctf->ab", power, share) / energy.clamp_min(1e-12)[:, None]
    parts[energy < 1e-4 * energy.sum()] = math.nan
    return parts


@torch.inference_mode()
def separated(net: TfcTdf, mix: Tensor, cut: Chunking) -> Tensor:
    """[2, T] to [5, 2, T], as sep separates."""
    runner = Runner(lambda *_: net, mix.device)
    stream = open_stream(
        runner,
        cut,
        stems=len(STEMS),
        channels=2,
        device=mix.device,
        short=lambda samples: mdx23c.short(net.shape, samples, cut.chunk),
    )
    return torch.cat((stream.push(mix), stream.finish()), -1)


def score_net(
    net: TfcTdf, clips: list[Tensor], rules: validation.Rules, cut: Chunking
) -> tuple[Tally, float]:
    """Return the tally of a network and its speed in times real time."""
    tally = Tally()
    device = next(net.parameters()).device
    taken = 0.0
    for stems in clips:
        near = stems.to(device)
        started = time.perf_counter()
        found = separated(net, near.sum(0), cut)
        taken += time.perf_counter() - started
        tally.add(near, found.to(device), validation.active(near, rules))
        tally.named.append(named(near, found.to(device), net.stft).tolist())
    return tally, sum(clip.shape[-1] for clip in clips) / RATE / taken


def bounds(clips: list[Tensor], rules: validation.Rules) -> dict[str, Tally]:
    """Return the tallies of the untouched mix and of the oracle ratio mask."""
    untouched, ideal = Tally(), Tally()
    shape = Stft(SHAPE.n_fft, SHAPE.hop)
    for stems in clips:
        counts = validation.active(stems, rules)
        untouched.add(stems, stems.sum(0).expand_as(stems), counts)
        ideal.add(stems, oracle(stems, shape), counts)
    return {"untouched mix": untouched, "oracle mask": ideal}


def table(rows: dict[str, Tally], what: str, only: list[bool] | None = None) -> str:
    """Return lines of the means by stem in dB."""
    lines = []
    for name, tally in rows.items():
        means = tally.means(what, only)
        cells = "".join(
            f"{means[stem]:9.2f}" if stem in means else f"{'-':>9}" for stem in (*STEMS, "mean")
        )
        lines.append(f"{what + ' ' + name:26}{cells}")
    return "\n".join(lines)


def load_net(path: Path) -> tuple[TfcTdf, Chunking]:
    """Return the network, computing in float32, and its cut, as a model.toml beside it says."""
    shape, chunk, overlap = SHAPE, CHUNK, OVERLAP
    manifest = path.with_name("model.toml")
    if manifest.exists():
        table = tomllib.loads(manifest.read_text())
        shape, chunk = (
            shape_of(TfcTdfShape, table["network"], len(table["stems"])),
            int(table["chunk"]),
        )
        overlap = float(table.get("overlap", 2.0))
    net = TfcTdf(shape)
    net.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    return net.eval(), cut_for(shape, chunk, overlap, batch=1)


def report(
    name: str, clips: list[Tensor], rules: validation.Rules, model: tuple[TfcTdf, Chunking] | None
) -> object:
    """Print the tables of one set and return the figures clip by clip."""
    rows = bounds(clips, rules)
    speed = math.nan
    if model:
        rows["network"], speed = score_net(model[0], clips, rules, model[1])
    onsets = [validation.density(stems) for stems in clips]
    middle = float(np.median(onsets))
    print(f"\n{name}: {len(clips)} clips of {validation.SECONDS} s")
    print(f"{'dB':26}" + "".join(f"{stem:>9}" for stem in (*STEMS, "mean")))
    print(table(rows, "sdr"))
    for label, kept in (
        (f"sparse (to {middle:.0f} onsets/s)", [n <= middle for n in onsets]),
        (f"dense (over {middle:.0f})", [n > middle for n in onsets]),
    ):
        print(table({label: list(rows.values())[-1]}, "sdr", kept))
    if model:
        print(table({"network": rows["network"]}, "si_sdr"))
        print(table({"network": rows["network"]}, "leakage"))
        print("where the energy of each stem is heard, %")
        for stem, row in zip(STEMS, np.nanmean(rows["network"].named, axis=0), strict=True):
            print(f"{stem:26}" + "".join(f"{100 * part:9.1f}" for part in row))
        print(f"sum of stems to the mix: {max(rows['network'].rest):.0f} dB at worst")
        print(f"{speed:.2f} x real time on {torch.get_num_threads()} threads")
    return {
        "speed": speed,
        "onsets": onsets,
        "rows": {key: asdict(tally) | {"means": tally.means()} for key, tally in rows.items()},
    }


def main() -> None:
    """Print the tables of every validation kit; with --json, the figures clip by clip too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path, nargs="?", help="without it, the bounds alone")
    parser.add_argument("--kits", type=Path, required=True, nargs="+")
    parser.add_argument("--grooves", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=validation.CLIPS)
    parser.add_argument("--start", type=int, default=0, help="24: clips that chose no weights")
    parser.add_argument("--rules", choices=validation.RULES, default="set")
    parser.add_argument("--gain", type=float, default=0.0, help="dB, for mixes of another level")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    bank, grooves = kits.read(options.kits, options.grooves, "validation")
    model = load_net(options.weights) if options.weights else None
    found = {}
    for name, kit in bank.items():
        rules = validation.RULES[options.rules]
        clips = validation.clips(kit, grooves, options.clips, rules, options.start)
        clips = [clip * decibels(options.gain) for clip in clips]
        found[name] = report(f"{name} ({KIT_TYPES.get(name, 'other')})", clips, rules, model)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
