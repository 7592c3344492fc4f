"""Which overlap, window and chunk for the bundled model: SDR and cost, and errors by position.

OMP_NUM_THREADS=1 PYTHONPATH=models/training python benchmarks/overlap.py \
    --kits DIR --grooves DIR --work DIR --out docs

Every chunk goes through the network once and its stems are kept in the work folder (about 5 GB),
so a run that was stopped goes on, and another window costs no network. What the windows make of
the chunks becomes OUT/overlap.csv and OUT/overlap-edges.csv; `overlap_pictures.py` draws them.

Two materials: `set`, the clips of 12 s that models are scored by, and `long`, clips of 40 s that
chose no weights: one groove each, or, every third, three grooves in a row. Two ways to cut them:
`song`, from the first sample on with a chunk that ends with the clip, as sep does; and `steady`,
the middle of the long clips with the grid of chunks at every eighth of a chunk in turn, so that it
does not matter which hits the seams happen to meet.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict

import kits
import torch
import validation
from mini import SHAPE
from safetensors.torch import load_file, save_file
from stems import RATE, STEMS
from torch import Tensor

import sep_runtime
from sep_runtime.models.prepared import Chunked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kits import Groove, Kit

    Network = Callable[[Tensor], Tensor]

OVERLAPS = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 8.0)
FEW = (1.25,)  # of chunks that are not the model's own
STEPS = (8, 12, 24, 32)  # half, three quarters, one and a half and twice the model's own 16
IN_SONGS = (
    *("mean", "linear 0.1", "triangle", "hann", "sine", "hann squared"),
    *("tukey 0.05", "tukey 0.1", "tukey 0.2", "kaiser-bessel", "nearest"),
)  # windows that whole clips are joined by; where only the middle counts they all cost nothing
PARTS = 8  # of a chunk: the finest grid
BIN = 64  # samples over which a window counts as constant in `steady`
WIDE = 7  # bins of a row of the profile
LONG = 40  # s
FIRST_LONG = 100  # index of the first long clip; the set, which chose weights, ends at 23
JOINED = 3  # grooves in a row in every third long clip
FADE = RATE // 20  # samples between two of them
RULES = validation.RULES["set"]


Row = tuple[float, str, float, list[float]]  # overlap, window, chunks, energies of the errors
Stretch = tuple[int, list[float], list[bool]]  # samples, energies of the stems, which count


class Figures(TypedDict):
    """What is known of a piece."""

    seconds: float  # of the processor, for a chunk, the median
    song: Stretch
    steady: NotRequired[Stretch]
    rows: list[Row]  # of `song`


@dataclass(frozen=True, slots=True)
class Counts:
    """How many clips of each kind."""

    clips: int  # of the set
    long: int
    resized: int  # of the long ones, those that are cut into chunks of other lengths, too


@dataclass(frozen=True, slots=True)
class Piece:
    """A clip, and how to cut it."""

    material: str
    index: int
    chunk: int
    overlaps: tuple[float, ...]
    make: Callable[[], Tensor]  # the stems [S, 2, T]

    @property
    def name(self) -> str:
        """A file's name without its suffix."""
        return f"{self.material}-{self.index:02d}-{self.chunk}"

    @property
    def steady(self) -> bool:
        """Whether its middle is evaluated on every grid."""
        return self.material == "long" and max(self.overlaps) == PARTS


def windows(size: int) -> dict[str, Tensor]:
    """Return the weights [size] of every scheme, in float64, strictly positive.

    A number is the share of the chunk that each of two fades takes.
    """
    at = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    edge = torch.minimum(at, 1 - at)
    sine = torch.sin(torch.pi * at)
    half = (size + 1) // 2
    kaiser = torch.kaiser_window(half + 1, periodic=False, beta=4 * torch.pi, dtype=torch.float64)
    rise = (kaiser.cumsum(0) / kaiser.sum())[:half]
    derived = torch.cat((rise, rise.flip(0)[size % 2 :]))

    def linear(share: float) -> Tensor:
        return (edge / share).clamp(max=1)

    return {
        "mean": torch.ones_like(at),
        "linear 0.1": linear(0.1),
        "triangle": 2 * edge,
        "hann": sine.square(),
        "sine": sine,
        "hann squared": sine.pow(4),
        **{
            f"tukey {share:g}": torch.sin(torch.pi / 2 * linear(share)).square()
            for share in (0.02, 0.05, 0.1, 0.2, 0.3, 0.4)
        },
        "kaiser-bessel": derived.sqrt(),
        "kaiser-bessel squared": derived,
        **{
            f"trimmed {share:g}": (edge >= share).double().clamp(min=1e-9)
            for share in (0.005, 0.01, 0.02, 0.05)
        },
        # Two chunks change places within 20 ms in the middle of what they share.
        "nearest": torch.exp((edge - 0.5) / 0.001),
    }


def starts(total: int, chunk: int, overlap: float) -> list[int]:
    """Return where chunks begin: on a grid, and where one ends with the mix.

    sep rounds the hop, not every start. The difference is a few samples, and as it is done here
    a grid shares its chunks with those that divide it.
    """
    grid = (round(i * chunk / overlap) for i in range(math.ceil(total * overlap / chunk)))
    return sorted({start for start in grid if start + chunk < total} | {total - chunk})


def long_clip(index: int, kit: Kit, grooves: list[Groove]) -> Tensor:
    """Return stems [S, 2, T]: one groove, or every third time three in a row."""
    seed = FIRST_LONG + index * JOINED
    total = LONG * RATE
    if index % 3 < 2:
        return torch.from_numpy(validation.clip(seed, kit, grooves, total, RULES))
    each = -(-(total + (JOINED - 1) * FADE) // JOINED)
    rise = (torch.arange(FADE) + 0.5) / FADE
    whole = torch.zeros(len(STEMS), 2, each * JOINED)
    for i in range(JOINED):
        part = torch.from_numpy(validation.clip(seed + i, kit, grooves, each, RULES))
        if i:
            part[..., :FADE] *= rise
        if i < JOINED - 1:
            part[..., -FADE:] *= 1 - rise
        at = i * (each - FADE)
        whole[..., at : at + each] += part
    return whole[..., :total].clone()


@torch.inference_mode()
def separate(network: Network, mix: Tensor, chunk: int, wanted: Iterable[int]) -> dict[str, Tensor]:
    """Return the stems of the wanted chunks of a mix [2, T], and the processor's seconds of each.

    Stems are kept in 16 bits of floating point, whose rounding lies 66 dB and more below them.
    """
    begins, outputs, seconds = [], [], []
    for start in wanted:
        begun = time.process_time()
        outputs.append(network(mix[None, :, start : start + chunk])[0].half())
        seconds.append(time.process_time() - begun)
        begins.append(start)
    return {
        "starts": torch.tensor(begins),
        "seconds": torch.tensor(seconds),
        "outputs": torch.stack(outputs),
    }


def energies(audio: Tensor) -> list[float]:
    """[S, 2, T] to the energy of each of S."""
    found: list[float] = audio.square().flatten(1).sum(1).double().tolist()
    return found


def song(errors: dict[int, Tensor], chosen: list[int], window: Tensor, total: int) -> list[float]:
    """Return the energy of every stem's error where chosen chunks are joined by a window."""
    size = window.shape[0]
    weight = torch.zeros(total, dtype=torch.float64)
    for start in chosen:
        weight[start : start + size] += window
    summed = torch.zeros(len(STEMS), 2, total)
    for start in chosen:
        share = (window / weight[start : start + size]).float()
        summed[..., start : start + size].addcmul_(errors[start], share)
    return energies(summed)


def products(errors: dict[int, Tensor], chunk: int) -> tuple[Tensor, int, int]:
    """Return sums of products of errors [S, bins, PARTS, PARTS], from where to where they reach.

    Of all stretches of an eighth of a chunk that eight chunks cover: at [s, b, p, q] what chunks
    have in their parts p and q of the same stretch. As a weighted mean's squared error is a
    quadratic form in its weights, every window and every coarser grid follows from these.
    """
    step = chunk // PARTS
    last = max(start for start in errors if start % step == 0) // step
    total = torch.zeros(len(STEMS), step // BIN, PARTS, PARTS, dtype=torch.float64)
    for stretch in range(PARTS - 1, last + 1):
        parts = [
            errors[(stretch - part) * step].narrow(-1, part * step, step) for part in range(PARTS)
        ]
        each = torch.stack(parts).reshape(PARTS, len(STEMS), 2, -1, BIN)
        each = each.permute(1, 3, 0, 2, 4).flatten(3)  # [S, bins, P, 2 BIN]
        total += each @ each.mT
    return total, (PARTS - 1) * step, (last + 1) * step


def steady(total: Tensor, window: Tensor, every: int) -> list[float]:
    """[S, bins, P, P] to the energy of every stem's error, averaged over all grids.

    `every` is the hop in eighths of a chunk.
    """
    weights = window.reshape(PARTS, -1, BIN).mean(-1).T  # [bins, P]
    energy = torch.zeros(len(STEMS), dtype=torch.float64)
    for first in range(every):
        chosen = torch.arange(first, PARTS, every)
        shares = weights[:, chosen] / weights[:, chosen].sum(1, keepdim=True)
        block = total[:, :, chosen][..., chosen]
        energy += torch.einsum("bp,sbpq,bq->s", shares, block, shares)
    found: list[float] = (energy / every).tolist()
    return found


def evaluate(piece: Piece, stems: Tensor, kept: dict[str, Tensor]) -> tuple[Figures, Tensor | None]:
    """Return a piece's figures, and products of its errors where its middle counts as well."""
    total, chunk = stems.shape[-1], piece.chunk
    errors = {
        start: output.float().sub_(stems[..., start : start + chunk])
        for start, output in zip(kept["starts"].tolist(), kept["outputs"], strict=True)
    }
    rows: list[Row] = []
    for overlap in piece.overlaps:
        chosen = starts(total, chunk, overlap)
        rows += [
            (overlap, name, len(chosen), song(errors, chosen, window, total))
            for name, window in windows(chunk).items()
            if name in IN_SONGS
        ]
    figures: Figures = {
        "seconds": kept["seconds"].median().item(),
        "song": (total, energies(stems), validation.active(stems, RULES)),
        "rows": rows,
    }
    if not piece.steady:
        return figures, None
    sums, begin, end = products(errors, chunk)
    middle = stems[..., begin:end]
    figures["steady"] = (end - begin, energies(middle), validation.active(middle, RULES))
    return figures, sums


def pieces(kit: Kit, grooves: list[Groove], separator: Chunked, own: Counts) -> list[Piece]:
    """Return all work, some of every kind in turn, so that a run can be stopped."""
    whole = separator.cut.chunk

    def long(index: int, chunk: int, overlaps: tuple[float, ...]) -> Piece:
        return Piece("long", index, chunk, overlaps, partial(long_clip, index, kit, grooves))

    def short(index: int) -> Tensor:
        length = validation.SECONDS * RATE
        return torch.from_numpy(validation.clip(index, kit, grooves, length, RULES))

    sizes = [SHAPE.chunk(steps) for steps in STEPS]
    found = [
        *((i, long(i, whole, OVERLAPS)) for i in range(own.long)),
        *((i // 2, Piece("set", i, whole, OVERLAPS, partial(short, i))) for i in range(own.clips)),
        *((i, long(i, size, FEW)) for i in range(own.resized) for size in sizes),
    ]
    return [piece for _, piece in sorted(found, key=itemgetter(0))]


def mini() -> Chunked:
    """Return the bundled model on the CPU."""
    separator = sep_runtime.load("mdx23c-mini", device="cpu").loaded.separator
    if not isinstance(separator, Chunked):
        raise TypeError("the bundled model sees chunks")
    return separator


def measure(piece: Piece, network: Network, work: Path) -> tuple[Figures, Tensor | None]:
    """Return what `evaluate` does, from the work folder as far as it lies there."""
    figures, audio, sums = (
        work / f"{piece.name}{ending}" for ending in (".json", ".safetensors", ".sums.safetensors")
    )
    if not figures.exists():
        stems = piece.make()
        if not audio.exists():
            cuts = (starts(stems.shape[-1], piece.chunk, overlap) for overlap in piece.overlaps)
            wanted = sorted({start for cut in cuts for start in cut})
            part = audio.with_suffix(".part")
            save_file(separate(network, stems.sum(0), piece.chunk, wanted), part)
            part.rename(audio)
        found, total = evaluate(piece, stems, load_file(audio))
        if total is not None:
            save_file({"sums": total}, sums)
        figures.write_text(json.dumps(found))
    told: Figures = json.loads(figures.read_text())
    return told, load_file(sums)["sums"] if piece.steady else None


@dataclass(slots=True)
class Scores:
    """SDR of one way to cut and join, clip by clip, and what it costs."""

    sdr: list[list[float | None]] = field(default_factory=list)  # by clip and stem
    chunks: float = 0.0
    samples: int = 0

    def add(self, stretch: Stretch, errors: list[float], chunks: float) -> None:
        """Count a clip."""
        samples, powers, active = stretch
        self.sdr.append(
            [
                10 * math.log10(power / error) if counts else None
                for power, error, counts in zip(powers, errors, active, strict=True)
            ]
        )
        self.chunks += chunks
        self.samples += samples

    def of(self, stem: int) -> list[float]:
        """Return a stem's SDR in dB in the clips where it counts."""
        return [value for clip in self.sdr if (value := clip[stem]) is not None]

    def gains(self, other: Scores) -> list[float]:
        """Return what every clip gains over another way in dB, the mean of its stems."""
        return [
            statistics.fmean(
                a - b for a, b in zip(mine, theirs, strict=True) if a is not None and b is not None
            )
            for mine, theirs in zip(self.sdr, other.sdr, strict=True)
        ]


Key = tuple[str, str, int, float, str]  # material, cut, chunk, overlap, window


def collect(
    done: list[tuple[Piece, Figures, Tensor | None]], own: int, resized: int
) -> dict[Key, Scores]:
    """Return the scores of every way, of the pieces that are done.

    Chunks of other lengths are a material of their own, `resized`, with the model's own chunk on
    the same clips beside them.
    """
    scores: dict[Key, Scores] = defaultdict(Scores)
    shapes = windows(own)
    for piece, figures, sums in done:
        materials = [piece.material] if piece.chunk == own else []
        if piece.material == "long" and piece.index < resized:
            materials.append("resized")
        for material in materials:
            for overlap, window, chunks, errors in figures["rows"]:
                key = (material, "song", piece.chunk, overlap, window)
                scores[key].add(figures["song"], errors, chunks)
        if sums is not None:
            stretch = figures["steady"]
            for every in range(1, PARTS + 1):
                chunks = stretch[0] / own * PARTS / every
                for window, shape in shapes.items():
                    key = ("long", "steady", own, PARTS / every, window)
                    scores[key].add(stretch, steady(sums, shape, every), chunks)
    return scores


def pool(sums: Tensor) -> Tensor:
    """[S, bins, P, P] to the same with fewer and wider bins."""
    return sums.reshape(len(STEMS), -1, WIDE, PARTS, PARTS).sum(2)


def profile(done: list[tuple[Figures, Tensor]]) -> list[tuple[float, list[float]]]:
    """Return by position in the chunk what errors of every stem are above those in its middle, dB.

    All positions are compared on the same samples, and all clips in which a stem counts alike.
    """
    levels: list[Tensor] = []
    for stem in range(len(STEMS)):
        seen = []
        for figures, sums in done:
            if figures["steady"][2][stem]:
                errors = pool(sums)[stem].diagonal(dim1=-2, dim2=-1)  # [rows, P]
                middle = errors[:, PARTS // 2 - 1 : PARTS // 2 + 1].mean(1, keepdim=True)
                # A row with next to no error (nobody plays) says nothing.
                kept = middle / middle.mean()
                seen.append(((errors / middle).log10() * 10, kept))
        weights = torch.stack([kept for _, kept in seen]).clamp(max=1)
        values = torch.stack([value for value, _ in seen])
        levels.append((values * weights).sum(0) / weights.sum(0))
    table = torch.stack(levels)  # [S, rows, P]
    table = table.transpose(1, 2).flatten(1)
    count = table.shape[1]
    return [((row + 0.5) / count, table[:, row].tolist()) for row in range(count)]


def agreement(done: list[tuple[Figures, Tensor]]) -> list[float]:
    """Return how far errors of two chunks on the same samples are the same, stem by stem.

    A correlation, of chunks that have these samples in their middle half, the mean of clips. What
    is the same in both no average takes away.
    """
    half = slice(PARTS // 4, PARTS - PARTS // 4)
    count = PARTS // 2
    found = []
    for stem in range(len(STEMS)):
        seen = []
        for figures, sums in done:
            if figures["steady"][2][stem]:
                block = sums[stem].sum(0)[half, half]
                own = block.diagonal().sum()
                seen.append(float((block.sum() - own) / own / (count - 1)))
        found.append(statistics.fmean(seen))
    return found


def write_table(scores: dict[Key, Scores], seconds: dict[int, float], own: int, file: Path) -> None:
    """Write a row for every way: means and medians over clips in dB, what it costs and gains.

    `gain` is in dB over overlap 2 under sep's own window, in the mean of stems, then of clips;
    `gain_error` is its standard error over clips.
    """
    named = (*STEMS, "mean")
    with file.open("w", newline="") as opened:
        out = csv.writer(opened, lineterminator="\n")
        out.writerow(
            (
                *("material", "cut", "chunk", "overlap", "window", "clips"),
                *("chunks_per_minute", "network_s_per_minute"),
                *(*named, *(f"median_{name}" for name in named), "gain", "gain_error"),
            )
        )
        for key, found in sorted(scores.items(), key=lambda item: item[0][:4]):
            material, cut, chunk, overlap, window = key
            clips = [found.of(stem) or [math.nan] for stem in range(len(STEMS))]
            cells = [statistics.fmean(values) for values in clips]
            cells.append(statistics.fmean(cells))
            cells += [statistics.median(values) for values in clips]
            cells.append(statistics.fmean(cells[len(named) :]))
            gains = found.gains(scores[material, cut, own, 2.0, "hann"])
            spread = statistics.stdev(gains) if len(gains) > 1 else math.nan
            cells += [statistics.fmean(gains), spread / math.sqrt(len(gains))]
            rate = found.chunks / found.samples * RATE * 60
            out.writerow(
                (
                    *(material, cut, chunk, f"{overlap:.4g}", window, len(gains)),
                    *(f"{rate:.2f}", f"{rate * seconds[chunk]:.2f}"),
                    *(f"{cell:.3f}" for cell in cells),
                )
            )


def write_profile(rows: list[tuple[float, list[float]]], file: Path) -> None:
    """Write a row for every position, from 0 to 1, in the chunk."""
    with file.open("w", newline="") as opened:
        out = csv.writer(opened, lineterminator="\n")
        out.writerow(["position", *STEMS, "mean"])
        for at, levels in rows:
            cells = (*levels, statistics.fmean(levels))
            out.writerow([f"{at:.5f}", *(f"{cell:.3f}" for cell in cells)])


def main() -> None:
    """Separate what is not separated yet, and write both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kits", type=Path, required=True)
    parser.add_argument("--grooves", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="goes on from what lies here")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=14, help="of the set")
    parser.add_argument("--long", type=int, default=7)
    parser.add_argument("--resized", type=int, default=4, help="long clips with other chunks, too")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    bank, grooves = kits.read([options.kits], options.grooves, "validation")
    (kit,) = bank.values()
    separator = mini()
    own = separator.cut.chunk
    counts = Counts(options.clips, options.long, options.resized)
    done = []
    for piece in pieces(kit, grooves, separator, counts):
        done.append((piece, *measure(piece, separator.runner, options.work)))
        print(f"{piece.name}: {done[-1][1]['seconds']:.2f} s a chunk", flush=True)
    whole = [(figures, sums) for _, figures, sums in done if sums is not None]
    seconds = defaultdict(list)
    for piece, figures, _ in done:
        seconds[piece.chunk].append(figures["seconds"])
    typical = {chunk: statistics.median(values) for chunk, values in seconds.items()}
    scores = collect(done, own, options.resized)
    told = ", ".join(f"{s} {v:.3f}" for s, v in zip(STEMS, agreement(whole), strict=True))
    print(f"errors of two chunks on the same samples correlate: {told}")
    options.out.mkdir(parents=True, exist_ok=True)
    write_table(scores, typical, own, options.out / "overlap.csv")
    write_profile(profile(whole), options.out / "overlap-edges.csv")


if __name__ == "__main__":
    main()
