"""What shifts, other passes of one mix, overlap and ensembles gain in SDR, and what they cost.

PYTHONPATH=models/training python benchmarks/shifts.py --pack PACK --work DIR --device cuda \
    --clips 120 --sections shifts kinds overlap ensembles joins --json FILE
... --kit sonic_pi --clips 64 --sections shifts kinds overlap ensembles joins
... --clips 80 --sections shifts-first kinds-first

PACK is what `models/training/pack.py` writes. Clips of 24 s, longer than several chunks, that chose
no weights. The members of ensembles are the bundled weights and the two versions before them, which
are read from the repository's history into the work folder; the first of them sees real and
imaginary parts, the others magnitudes. Every pass goes through `separate`, in fp32; the same pass
is computed once for all the ways that need it. `--lean` leaves out what costs the most. Several
processes may share the clips by `--start`, and `--read` shows their files as one.

A gain is the mean over clips of what a clip gains in dB, with the standard error of that mean; the
column "mean" is the mean of the stems' means. A cost is in chunks, beside one pass.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
import zlib
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import kits
import numpy as np
import torch
import validation
from stems import RATE, STEMS
from torch import Tensor

import sep_models
import sep_runtime
from sep_models import home
from sep_runtime import lasting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kits import Groove, Kit

RULES = validation.RULES["set"]
FIRST = 200  # index of the first clip: far from those that chose weights
SECOND = RATE
CHUNK_HOP = 209_306  # samples, the bundled model's chunk over its overlap of 1.25
CHUNK = 261_632
MOST = 8  # passes
COUNTS = (2, 3, 4, 8)
ANY = (False, True)
HOP = 512  # samples, the transform's
EVEN = {  # offsets k * range / N
    "even, 256": HOP // 2,
    "even, 512 (the transform's hop)": HOP,
    "even, 1,024": 2 * HOP,
    "even, 2,048": 4 * HOP,
    "even, 16,384 (the network's step)": 16_384,
    "even, 0.1 s": SECOND // 10,
    "even, 0.5 s": SECOND // 2,
    "even, 1 s": SECOND,
    "even, the chunks' hop": CHUNK_HOP,
}
RANDOM = {  # offsets m - o, o random in 0 .. m
    "random, 0.1 s": SECOND // 10,
    "random, 0.5 s (Demucs)": SECOND // 2,
    "random, 1 s": SECOND,
    "random, a chunk": CHUNK,
}
LEAN = {  # passes of each rule, where time is short: those that share the most
    "even, 512 (the transform's hop)": (2, 4),
    "even, 0.5 s": (2, 3, 4, 8),
    "even, 1 s": (2, 4),
    "even, the chunks' hop": (2, 4),
    "random, 0.5 s (Demucs)": (2, 3, 4),
}
# The member's name, the commit that has its weights, and what its manifest says else.
NEW, OLD, OLDEST = "mdx23c-mini", "second", "first"
HISTORY: dict[str, tuple[str, dict[str, int | str]]] = {
    OLD: (
        "b6fa601",
        {"chunk": CHUNK, "channels": 40, "growth": 24, "subbands": 8, "input": "magnitude"},
    ),
    OLDEST: ("104d978", {"chunk": 130_560, "channels": 32, "growth": 32, "subbands": 4}),
}
WEIGHTS = "models/sep_models/mdx23c_mini/weights.safetensors"
QUALITY = {NEW: 13.40, OLD: 12.03, OLDEST: 10.97}  # dB, from models/training/README.md


@dataclass(frozen=True, slots=True)
class Pass:
    """One way of a mix through one model."""

    model: str = NEW
    shift: int = 0  # samples of silence before the mix, cut off again
    swap: bool = False  # left is right
    invert: bool = False
    overlap: float | None = None  # None: the model's own


@dataclass(frozen=True, slots=True)
class Way:
    """Passes, and how they become one."""

    section: str
    name: str
    passes: tuple[Pass, ...]
    join: str = "mean"
    weights: tuple[float, ...] = ()  # (): equal
    beside: str = ""  # the way that it is compared with; "": the section's first


def even(count: int, span: int, model: str = NEW) -> tuple[Pass, ...]:
    """Return passes whose offsets are evenly spaced in a span of samples."""
    return tuple(Pass(model, round(k * span / count)) for k in range(count))


def drawn(count: int, span: int, clip: int, model: str = NEW) -> tuple[Pass, ...]:
    """Return passes at random offsets up to a span of samples, the first at none."""
    rng = np.random.default_rng([zlib.crc32(b"shifts"), span, clip])
    offsets = span - rng.integers(0, span + 1, MOST - 1)
    return (Pass(model), *(Pass(model, int(offset)) for offset in offsets[: count - 1]))


def shifts(clip: int, model: str, *, lean: bool) -> Iterator[Way]:
    """Shifts by several rules."""
    title = f"shifts, {model}"
    yield Way(title, "one pass", (Pass(model),))
    for count in COUNTS:
        for name, span in EVEN.items():
            if not lean or count in LEAN.get(name, ()):
                yield Way(title, f"{count} {name}", even(count, span, model))
        for name, span in RANDOM.items():
            if not lean or count in LEAN.get(name, ()):
                yield Way(title, f"{count} {name}", drawn(count, span, clip, model))


def kinds(_clip: int, model: str, *, lean: bool) -> Iterator[Way]:
    """Two and four passes of several kinds."""
    title = f"kinds of passes, {model}"
    span = EVEN["even, 0.5 s"]
    one = Pass(model)
    yield Way(title, "one pass", (one,))
    two, four = even(2, span, model), even(4, span, model)
    swapped = tuple(replace(each, swap=True) for each in two)
    yield Way(title, "2: shift", two)
    yield Way(title, "2: swap", (one, swapped[0]))
    yield Way(title, "2: shift and swap", (one, swapped[1]))
    yield Way(title, "4: shifts", four)
    yield Way(title, "4: 2 shifts x swap", (*two, *swapped))
    hops = even(2, HOP, model)
    mirrored = tuple(replace(each, swap=True) for each in hops)
    yield Way(title, "2: shift within the hop", hops)
    yield Way(title, "2: shift within the hop and swap", (one, mirrored[1]))
    yield Way(title, "4: shifts within the hop", even(4, HOP, model))
    yield Way(title, "4: 2 shifts within the hop x swap", (*hops, *mirrored))
    if lean:
        return
    second = {
        "invert": replace(one, invert=True),
        "swap and invert": replace(one, swap=True, invert=True),
        "shift and invert": replace(one, shift=span // 2, invert=True),
        "shift, swap and invert": replace(one, shift=span // 2, swap=True, invert=True),
    }
    for name, other in second.items():
        yield Way(title, f"2: {name}", (one, other))
    yield Way(
        title,
        "4: shifts, every other swapped",
        tuple(replace(each, swap=i % 2 == 1) for i, each in enumerate(four)),
    )
    yield Way(
        title,
        "4: shifts, every other inverted",
        tuple(replace(each, invert=i % 2 == 1) for i, each in enumerate(four)),
    )
    yield Way(title, "4: 2 shifts x invert", (*two, *(replace(each, invert=True) for each in two)))
    yield Way(
        title,
        "4: swap x invert",
        tuple(Pass(model, swap=swap, invert=minus) for swap in ANY for minus in ANY),
    )
    yield Way(
        title,
        "8: 4 shifts x swap",
        (*four, *(replace(each, swap=True) for each in four)),
    )
    yield Way(title, "8: shifts", even(8, span, model))


def overlaps(_clip: int, model: str, *, lean: bool) -> Iterator[Way]:
    """More overlap in place of passes."""
    title = f"overlap, {model}"
    one = Pass(model)
    span = EVEN["even, 0.5 s"]
    yield Way(title, "overlap 1.25", (one,))
    for times in (2, 4) if lean else (2, 4, 8):
        yield Way(title, f"overlap {1.25 * times}", (replace(one, overlap=1.25 * times),))
        shifted = even(times, span, model)
        yield Way(title, f"overlap 1.25, {times} shifts", shifted)
        hops = even(times, HOP, model)
        yield Way(title, f"overlap 1.25, {times} shifts within the hop", hops)
    if lean:
        return
    for count in (2, 4):
        for name, reach in (("shifts", span), ("shifts within the hop", HOP)):
            wide = tuple(replace(each, overlap=2.5) for each in even(count, reach, model))
            yield Way(title, f"overlap 2.5, {count} {name}", wide)


def by_error(models: tuple[str, ...]) -> tuple[float, ...]:
    """Return weights that go with the inverse of each member's mean error."""
    return tuple(10 ** (QUALITY[model] / 10) for model in models)


def ensembles(_clip: int, *, lean: bool) -> Iterator[Way]:
    """Ensembles of members and of shifted passes, joined in several ways."""
    title = "ensembles"
    yield Way(title, NEW, (Pass(NEW),))
    yield Way(title, OLD, (Pass(OLD),))
    yield Way(title, OLDEST, (Pass(OLDEST),))
    for models, choices in (
        ((NEW, OLD), ((), (2.0, 1.0), (3.0, 1.0))),
        ((NEW, OLDEST), ((), (2.0, 1.0), (3.0, 1.0))),
        ((OLD, OLDEST), ((), (2.0, 1.0))),
        ((NEW, OLD, OLDEST), ((), (2.0, 1.0, 1.0), (3.0, 2.0, 1.0))),
    ):
        short = "+".join({NEW: "new", OLD: "second", OLDEST: "first"}[each] for each in models)
        passes = tuple(Pass(each) for each in models)
        for weights in choices:
            how = ":".join(f"{each:g}" for each in weights) or "equal"
            yield Way(title, f"{short}, mean, {how}", passes, "mean", weights)
        yield Way(title, f"{short}, mean, by error", passes, "mean", by_error(models))
    passes = (Pass(NEW), Pass(OLD), Pass(OLDEST))
    for join in MEDIANS:
        mean = "new+second+first, mean, equal"
        yield Way(title, f"new+second+first, {join}", passes, join, beside=mean)
    if lean:
        return
    both = tuple(Pass(each, shift) for each in (NEW, OLD, OLDEST) for shift in (0, SECOND // 4))
    mean = "all three, 2 shifts each, mean"
    yield Way(title, mean, both)
    for join in MEDIANS:
        yield Way(title, f"all three, 2 shifts each, {join}", both, join, beside=mean)


def joins(_clip: int, model: str, *, lean: bool) -> Iterator[Way]:
    """Medians of shifted passes."""
    title = f"medians of shifts, {model}"
    yield Way(title, "one pass", (Pass(model),))
    for count in (4,) if lean else (3, 4, 8):
        own = even(count, SECOND // 2, model)
        yield Way(title, f"{count}, mean", own)
        for join in MEDIANS:
            yield Way(title, f"{count}, {join}", own, join, beside=f"{count}, mean")


def spectra(joined: Callable[[Tensor], Tensor], n_fft: int, passes: Tensor) -> Tensor:
    """[P, S, 2, T] to [S, 2, T]: joined as spectra [P, ...] with a hop of half a window."""
    window = torch.hann_window(n_fft, device=passes.device)
    flat = passes.flatten(1, 2)
    size = (n_fft, n_fft // 2)
    found = torch.stack(
        [torch.stft(each, *size, window=window, return_complex=True) for each in flat]
    )
    back = torch.istft(joined(found), *size, window=window, length=passes.shape[-1])
    return back.reshape(passes.shape[1:])


def middle(values: Tensor) -> Tensor:
    """[P, ...] to the median, of an even number the mean of the two in the middle."""
    ordered = values.sort(0).values
    count = values.shape[0]
    return (ordered[(count - 1) // 2] + ordered[count // 2]) / 2


def by_magnitude(found: Tensor) -> Tensor:
    """[P, ...] complex to the median of magnitudes with the phase of the mean."""
    return torch.polar(middle(found.abs()), found.mean(0).angle())


def by_parts(found: Tensor) -> Tensor:
    """[P, ...] complex to the medians of real and imaginary parts."""
    return torch.complex(middle(found.real), middle(found.imag))


def by_order(found: Tensor) -> Tensor:
    """[P, ...] complex to the one whose real part is in the middle: numpy's median, as in MSST."""
    order = found.real.argsort(0)
    count = found.shape[0]
    low, high = (order[i : i + 1] for i in ((count - 1) // 2, count // 2))
    return ((found.gather(0, low) + found.gather(0, high)) / 2)[0]


MEDIANS: dict[str, Callable[[Tensor], Tensor]] = {
    "median of samples": middle,
    "median of magnitudes, 2048": partial(spectra, by_magnitude, 2048),
    "median of magnitudes, 4096": partial(spectra, by_magnitude, 4096),
    "median of real and imaginary, 2048": partial(spectra, by_parts, 2048),
    "MSST's median_fft, 2048": partial(spectra, by_order, 2048),
}


def joined(way: Way, passes: list[Tensor]) -> Tensor:
    """[S, 2, T] of each pass to the same of a way."""
    if way.join != "mean":
        return MEDIANS[way.join](torch.stack(passes))
    weights = way.weights or (1.0,) * len(passes)
    total = torch.zeros_like(passes[0])
    for weight, each in zip(weights, passes, strict=True):
        total += each * (weight / sum(weights))
    return total


class Members:
    """Models by name and overlap, loaded when they are first used."""

    def __init__(self, device: str, batch: int | None) -> None:
        self._device = device
        self._batch = batch
        self._models: dict[tuple[str, float | None], sep_runtime.Model] = {}

    def _model(self, name: str, overlap: float | None) -> sep_runtime.Model:
        key = (name, overlap)
        if key not in self._models:
            self._models[key] = sep_runtime.load(
                name, device=self._device, overlap=overlap, batch=self._batch, precision="fp32"
            )
        return self._models[key]

    def stems(self, mix: Tensor, how: Pass) -> Tensor:
        """[2, T] to [S, 2, T]."""
        given = mix.flip(0) if how.swap else mix
        given = torch.nn.functional.pad(-given if how.invert else given, (how.shift, 0))
        model = self._model(how.model, how.overlap)
        found = model.separate(given.numpy(), RATE)
        stems = torch.stack([torch.from_numpy(found[stem]) for stem in STEMS])
        stems = stems.to(model.device)[..., how.shift :]
        stems = stems.flip(1) if how.swap else stems
        return -stems if how.invert else stems

    def chunks(self, samples: int, how: Pass) -> int:
        """Return how many chunks a pass over a mix of so many samples takes."""
        cut = self._model(how.model, how.overlap).loaded.separator.cut
        return 1 + max(0, math.ceil((samples + how.shift - cut.chunk) / cut.hop))


@dataclass(slots=True)
class Scores:
    """What is known of a way, clip by clip."""

    beside: str
    sdr: list[list[float | None]] = field(default_factory=list)  # dB, by clip and stem
    chunks: list[int] = field(default_factory=list)
    rest: list[float] = field(default_factory=list)  # dB: the mix less the stems, to the mix


def ratio(signal: Tensor, error: Tensor) -> float:
    """Return the ratio of two signals' energies in dB."""
    powers = [float(each.double().square().sum()) for each in (signal, error)]
    return 10 * math.log10(max(powers[0], 1e-20) / max(powers[1], 1e-20))


def measure(
    members: Members, ways: list[Way], stems: Tensor, scores: dict[str, dict[str, Scores]]
) -> None:
    """Add a clip [S, 2, T] to the scores of every way."""
    mix = stems.sum(0)
    active = validation.active(stems, RULES)
    kept: dict[Pass, Tensor] = {}
    for way in ways:
        for each in way.passes:
            if each not in kept:
                kept[each] = members.stems(mix, each)
        found = joined(way, [kept[each] for each in way.passes])
        near = stems.to(found.device)
        score = scores.setdefault(way.section, {}).setdefault(way.name, Scores(way.beside))
        score.sdr.append(
            [
                ratio(near[i], near[i] - found[i]) if counts else None
                for i, counts in enumerate(active)
            ]
        )
        score.chunks.append(sum(members.chunks(mix.shape[-1], each) for each in way.passes))
        score.rest.append(ratio(near.sum(0) - found.sum(0), near.sum(0)))


def means(sdr: list[list[float | None]]) -> list[tuple[float, float]]:
    """Return mean and standard error by stem, and of the mean of the stems' means.

    Clips are the independent draws; a clip's stems are not, so the last error is that of what each
    clip adds to the mean of means.
    """
    table = np.array([[math.nan if v is None else v for v in row] for row in sdr])
    counts = (~np.isnan(table)).sum(0)
    middles = np.nanmean(table, 0)
    shares = np.nan_to_num((table - middles) / counts)  # of each clip, in each stem's mean
    clips = len(table)
    spread = clips / max(clips - 1, 1)
    errors = np.sqrt(np.square(shares).sum(0) * spread)
    last = math.sqrt(float(np.square(shares.mean(1)).sum()) * spread)
    pairs = [(float(m), float(e)) for m, e in zip(middles, errors, strict=True)]
    return [*pairs, (float(middles.mean()), last)]


def less(a: list[list[float | None]], b: list[list[float | None]]) -> list[list[float | None]]:
    """Return what `a` has more, clip by clip and stem by stem."""
    return [
        [None if x is None or y is None else x - y for x, y in zip(mine, theirs, strict=True)]
        for mine, theirs in zip(a, b, strict=True)
    ]


def table(section: str, rows: dict[str, Scores]) -> str:
    """Return a section's lines."""
    names = list(rows)
    wide = max(map(len, names)) + 2
    head = "".join(f"{stem:>9}" for stem in (*STEMS, "mean"))
    lines = [f"\n{section}", f"{'dB':{wide}}{'cost':>6}{head}{'gain':>8}{'+-':>6}{'rest':>7}"]
    first = rows[names[0]]
    for name, score in rows.items():
        cells = "".join(f"{mean:9.2f}" for mean, _ in means(score.sdr))
        gain, error = means(less(score.sdr, rows[score.beside or names[0]].sdr))[-1]
        cost = sum(score.chunks) / sum(first.chunks)
        beside = f"  beside {score.beside}" if score.beside else ""
        lines.append(
            f"{name:{wide}}{cost:6.2f}{cells}{gain:8.3f}{error:6.3f}{max(score.rest):7.0f}{beside}"
        )
    return "\n".join(lines)


def recover() -> None:
    """Write the weights and manifests of earlier versions among the user's own models."""
    new = sep_models.find(NEW)
    for name, (commit, differs) in HISTORY.items():
        folder = home.models() / name
        path = folder / sep_models.WEIGHTS
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            shown = ["git", "show", f"{commit}:{WEIGHTS}"]
            path.write_bytes(subprocess.run(shown, check=True, capture_output=True).stdout)
        network = {key: new.network[key] for key in new.network if key not in ("peak", "input")}
        network |= {key: value for key, value in differs.items() if key != "chunk"}
        manifest = replace(
            new,
            name=name,
            aliases=(),
            bundled=False,
            imported="2026-11-01",
            sha256=sha256(path.read_bytes()).hexdigest(),
            chunk=int(differs["chunk"]),
            network=network,
        )
        lasting.write(folder / sep_models.RECORD, asdict(manifest))


def clip(index: int, kit: Kit, grooves: list[Groove], seconds: float) -> Tensor:
    """Return a clip's stems [S, 2, T]."""
    made = validation.clip(FIRST + index, kit, grooves, round(seconds * RATE), RULES)
    return torch.from_numpy(made)


SECTIONS: dict[str, Callable[..., Iterator[Way]]] = {
    "shifts": partial(shifts, model=NEW),
    "kinds": partial(kinds, model=NEW),
    "overlap": partial(overlaps, model=NEW),
    "ensembles": ensembles,
    "joins": partial(joins, model=NEW),
    "shifts-first": partial(shifts, model=OLDEST),
    "kinds-first": partial(kinds, model=OLDEST),
}


def read(paths: list[Path]) -> dict[str, dict[str, Scores]]:
    """Return the scores of several runs as one; their clips should differ."""
    found: dict[str, dict[str, Scores]] = {}
    for path in paths:
        for section, rows in json.loads(path.read_text()).items():
            kept = found.setdefault(section, {})
            for name, row in rows.items():
                score = kept.setdefault(name, Scores(row["beside"]))
                score.sdr += row["sdr"]
                score.chunks += row["chunks"]
                score.rest += row["rest"]
    return found


def show(found: dict[str, dict[str, Scores]]) -> None:
    """Print a table for every section."""
    for section, rows in found.items():
        print(table(section, rows))


def main() -> None:
    """Measure clip by clip, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", type=Path, help="a folder with validation.npz")
    parser.add_argument("--work", type=Path, help="where earlier weights are put")
    parser.add_argument("--kit", default="open_source_drumkit")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=24)
    parser.add_argument("--sections", nargs="*", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--lean", action="store_true", help="leave out what costs the most")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--json", type=Path, help="all figures, clip by clip, after every clip")
    parser.add_argument("--read", type=Path, nargs="+", help="files of --json: show them together")
    options = parser.parse_args()
    if options.read:
        show(read(options.read))
        return
    os.environ[home.HOME_VARIABLE] = str(options.work)
    recover()
    bank, grooves = kits.load(options.pack / "validation.npz")
    members = Members(options.device, options.batch)
    found: dict[str, dict[str, Scores]] = {}
    begun = time.perf_counter()
    for index in range(options.start, options.start + options.clips):
        stems = clip(index, bank[options.kit], grooves, options.seconds)
        ways = [
            way for name in options.sections for way in SECTIONS[name](index, lean=options.lean)
        ]
        measure(members, ways, stems, found)
        if options.json:
            told = {s: {n: asdict(each) for n, each in rows.items()} for s, rows in found.items()}
            options.json.write_text(json.dumps(told))
        print(f"clip {index}: {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    show(found)


if __name__ == "__main__":
    main()
