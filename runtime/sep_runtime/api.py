"""The Python API: an array or a file in, a dict of stems out.

    import sep_runtime

    model = sep_runtime.load("mdx23c-mini", device="auto")
    stems = model.separate("drums.wav")
    kick = stems["kick"]  # float32 [C, T], at the file's rate and length
    stems.save("separated")

A call that is wrong in itself raises TypeError or UsageError, which is a ValueError and a SepError;
what a model, a file, a device or the memory cannot do is another SepError. docs/python.md says
more. The command line stands on the same `Model`.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sep_protocol import called
from sep_runtime import calls, memory
from sep_runtime import device as devices
from sep_runtime.model import Model, Part, check_process
from sep_runtime.models import separators
from sep_runtime.models.composed import composed
from sep_runtime.stems import Stems
from sep_runtime.streams.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sep_protocol import Model as ModelRef
    from sep_protocol import Precision
    from sep_runtime.calls import AnyPath
    from sep_runtime.device import Choice

__all__ = ["Model", "Stems", "Wish", "load", "load_chain", "load_on"]

_FIRST: dict[str, int] = {}  # the process that loaded a model first: its forks cannot
logging.getLogger("sep_runtime").addHandler(logging.NullHandler())  # what is said is raised


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Models that work together, and how: see `Job`."""

    models: tuple[ModelRef, ...]
    weights: tuple[float, ...] = ()
    first: ModelRef | None = None
    intermediate: bool = False
    shifts: int = 1
    overlap: float | None = None
    batch: int | None = None
    precision: Precision = "auto"


def load(
    name: str | Sequence[str] | None = None,
    *,
    weights: Sequence[float] | None = None,
    shifts: int = 1,
    device: str = "auto",
    folder: AnyPath | None = None,
    checkpoint: AnyPath | None = None,
    settings: AnyPath | None = None,
    overlap: float | None = None,
    batch: int | None = None,
    precision: str = "auto",
) -> Model:
    """Load a model of the catalogue or of the user, or a `checkpoint` with its `settings` YAML.

    `name` is a model's name or alias; None: the bundled one, or what the checkpoint's file is
    called. Several names are an ensemble: the mean of their stems, by `weights`. `shifts` passes
    over a mix are averaged, each shifted in time. `folder` holds the model's weights; None: where
    `sep models pull` puts them, or the package. A checkpoint that the catalogue knows needs no
    settings. `overlap` is chunk / hop and at least 1; `batch` is how many chunks go through the
    network together; `precision` is auto, fp32, fp16 or bf16. Raises DeviceError where a named
    device cannot be used, ModelError where a model is missing, damaged or of another kind,
    TypeError and UsageError for a call that is wrong.
    """
    models = calls.models(name, folder=folder, checkpoint=checkpoint, settings=settings)
    wish = Wish(
        models=models,
        weights=calls.ensemble(len(models), weights, shifts),
        shifts=shifts,
        overlap=overlap,
        batch=batch,
        precision=calls.precision(precision),
    )
    return _load(wish, device)


def load_chain(
    from_mix: str,
    name: str | Sequence[str] | None = None,
    *,
    weights: Sequence[float] | None = None,
    shifts: int = 1,
    keep_intermediate: bool = False,
    device: str = "auto",
    overlap: float | None = None,
    batch: int | None = None,
    precision: str = "auto",
) -> Model:
    """Load two models that split whole songs: `from_mix` takes the drums out, `name` splits these.

    The stems are the drums' parts and the rest of the song, which sum to it; with
    `keep_intermediate` those of the first model, too. Everything else, and what is raised, is as
    with `load`.
    """
    models = calls.models(name)
    wish = Wish(
        models=models,
        weights=calls.ensemble(len(models), weights, shifts),
        first=calls.model(from_mix),
        intermediate=calls.flag("keep_intermediate", keep_intermediate),
        shifts=shifts,
        overlap=overlap,
        batch=batch,
        precision=calls.precision(precision),
    )
    return _load(wish, device)


def _load(wish: Wish, device: str) -> Model:
    check_process(_FIRST.setdefault("pid", os.getpid()))
    calls.check_speed(wish.overlap, wish.batch)
    chosen = calls.text("device", device)
    with memory.named():
        return load_on(devices.choose(chosen), wish, to_cpu=chosen == "auto")


def load_on(choice: Choice, wish: Wish, *, to_cpu: bool = False) -> Model:
    """Load models on a device that was chosen; `to_cpu`: see `separators.load`."""
    refs = (*((wish.first,) if wish.first else ()), *wish.models)
    turns = Turns() if len(refs) > 1 else None
    every = [
        separators.load(
            ref,
            choice.device,
            overlap=wish.overlap,
            batch=wish.batch,
            precision=wish.precision,
            to_cpu=to_cpu,
            turns=turns,
        )
        for ref in refs
    ]
    first, models = (every[0], every[1:]) if wish.first else (None, every)
    weights = wish.weights or (1.0,) * len(models)
    shares = [each / sum(weights) for each in weights]
    separator, stems = composed(
        models,
        shares,
        first=first,
        intermediate=wish.intermediate,
        shifts=wish.shifts,
        turns=turns,
    )
    names = [each.manifest.name for each in models]
    parts = [Part(loaded=each, weight=share) for each, share in zip(models, shares, strict=True)]
    return Model(
        name=called(names, first.manifest.name if first else ""),
        stems=stems,
        separator=separator,
        parts=(*((Part(loaded=first, first=True),) if first else ()), *parts),
        choice=choice,
        turns=turns,
    )
