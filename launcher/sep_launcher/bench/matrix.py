"""What the user asked to measure, and the combinations that it makes. Pure but for `exists`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from sep_launcher.planning.listed import number, parted
from sep_launcher.planning.request import Request
from sep_launcher.planning.route import Wanted
from sep_protocol import Bench, Precision
from sep_protocol.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sep_launcher.bench.document import Fault, Row
    from sep_launcher.planning.route import Engine, Kind

    Way = tuple[Engine, Kind]

EngineName = Literal["auto", "native", "container"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
SECONDS = (0.1, 600.0)
MOST_RUNS = 1000
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The values that were named, each list empty where none was."""

    engines: tuple[EngineName, ...] = ()
    devices: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    precisions: tuple[Precision, ...] = ()
    overlaps: tuple[float, ...] = ()
    batches: tuple[int, ...] = ()
    model_config: Path | None = None
    measure: Bench = field(default_factory=Bench)
    whole: bool = False  # whether whole commands are measured, too


def wish(
    *,
    engines: Sequence[str] | None,
    devices: Sequence[str] | None,
    models: Sequence[str] | None,
    precisions: Sequence[str] | None,
    overlaps: Sequence[str] | None,
    batches: Sequence[str] | None,
    model_config: Path | None,
    measure: Bench,
    whole: bool,
) -> Wish:
    """Return what was asked for; raise UsageError for what has no meaning, before any work."""
    made = Wish(
        engines=tuple(_of(each, ENGINES, "--engine") for each in _each(engines, "--engine")),
        devices=tuple(_each([each.lower() for each in devices or ()], "--device")),
        models=tuple(_each(models, "--model", os.path.exists)),
        precisions=tuple(
            _of(each, PRECISIONS, "--precision") for each in _each(precisions, "--precision")
        ),
        overlaps=tuple(number(each, float, "--overlap") for each in _each(overlaps, "--overlap")),
        batches=tuple(number(each, int, "--batch") for each in _each(batches, "--batch")),
        model_config=model_config,
        measure=measure,
        whole=whole,
    )
    if model_config is not None and len(made.models) != 1:
        raise UsageError("--model-config belongs to one checkpoint", hint="--model FILE.ckpt")
    requests(made, [("native", "cpu")])  # what is no device or no overlap is told here
    return made


def measure(
    *, seconds: float, runs: int, baselines: bool, snr: bool, profile: bool, tuning: bool
) -> Bench:
    """Return what is measured of each; raise UsageError for more than fits in memory and a day."""
    least, most = SECONDS
    if not least <= seconds <= most:  # also for nan
        raise UsageError(f"--seconds must be from {least:g} to {most:g}, not {seconds:g}")
    if not 1 <= runs <= MOST_RUNS:
        raise UsageError(f"--runs must be from 1 to {MOST_RUNS}, not {runs}")
    return Bench(
        seconds=seconds, runs=runs, baselines=baselines, snr=snr, profile=profile, tuning=tuning
    )


def _of(text: str, known: Sequence[T], option: str) -> T:
    for each in known:
        if each == text:
            return each
    raise UsageError(f"{option} knows no {text!r}", hint=", ".join(map(str, known)))


def _each(
    texts: Iterable[str] | None, option: str, whole: Callable[[str], bool] = lambda _: False
) -> list[str]:
    """Return the values of an option, each one once."""
    return list(dict.fromkeys(parted(texts, option, whole)))


def lanes(wish: Wish, ways: Sequence[Way]) -> list[Wanted]:
    """Return where to measure: all `ways` that are set up, of those what was named.

    What was named and is not set up stays, for its row says why. `auto` is what a run would take;
    so it is, too, where one profile is wanted and nothing was named.
    """
    pairs: list[tuple[EngineName, str]] = []
    if wish.engines and wish.devices:
        pairs = list(product(wish.engines, wish.devices))
    elif wish.engines:
        for engine in wish.engines:
            pairs += [(engine, its) for it, its in ways if it == engine] or [(engine, "auto")]
    elif wish.devices:
        for device in wish.devices:
            kind = device.partition(":")[0]
            pairs += [(it, device) for it, its in ways if its == kind] or [("auto", device)]
    elif not wish.measure.profile:
        pairs += ways
    return [Wanted(engine=engine, device=device) for engine, device in pairs] or [Wanted()]


def requests(wish: Wish, ways: Sequence[Way]) -> list[Request]:
    """Return one request for every combination; raise UsageError for what has no meaning."""
    return [
        Request(
            files=(),
            out=Path(),
            model=model,
            model_config=wish.model_config,
            wanted=wanted,
            fallback=False,
            precision=precision,
            overlap=overlap,
            batch=batch,
        )
        for model, wanted, precision, overlap, batch in product(
            wish.models or (None,),
            lanes(wish, ways),
            wish.precisions or ("auto",),
            wish.overlaps or (None,),
            wish.batches or (None,),
        )
    ]


def fault(wish: Wish, asked: Sequence[Request], rows: Sequence[Row]) -> Fault | None:
    """Return what the command ends with: the first fault of a value that was named in vain.

    A value is served when one row with it was measured, so what one device cannot do is no fault
    where another one did it. Where nothing was measured it is the first fault of all.
    """
    pairs = list(zip(asked, rows, strict=False))  # an interrupt leaves the last rows out
    faults = [row.error for row in rows if row.error]
    if stopped := [each for each in faults if each.code == ExitCode.INTERRUPTED]:
        return stopped[0]
    if len(faults) == len(rows):
        return next(iter(faults), None)
    named: tuple[tuple[Sequence[object], Callable[[Request], object]], ...] = (
        (wish.models, lambda request: request.model),
        (wish.engines, lambda request: request.wanted.engine),
        (wish.devices, lambda request: request.wanted.device),
        (wish.precisions, lambda request: request.precision),
        (wish.overlaps, lambda request: request.overlap),
        (wish.batches, lambda request: request.batch),
    )
    for values, of in named:
        served = {of(request) for request, row in pairs if not row.error}
        for request, row in pairs:
            if row.error and of(request) in values and of(request) not in served:
                return row.error
    return None
