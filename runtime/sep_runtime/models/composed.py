"""Loaded models to one Separator: one by itself, shifted, the mean of several, a chain of two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sep_models import REST, together
from sep_runtime.streams.aligned import Completed
from sep_runtime.streams.chain import Chain
from sep_runtime.streams.ensemble import Ensemble, shifted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sep_runtime.models.separators import Loaded
    from sep_runtime.streams.overlap import Separator
    from sep_runtime.streams.turns import Turns


def composed(
    models: Sequence[Loaded],
    weights: Sequence[float],
    *,
    first: Loaded | None = None,
    intermediate: bool = False,
    shifts: int = 1,
    turns: Turns | None = None,
) -> tuple[Separator, tuple[str, ...]]:
    """Return the Separator of models that work together, and the names of all their stems.

    `weights` has one for each model.
    Raises UsageError where their stems do not fit, as `together.stems_of` says.
    """
    manifests = [each.manifest for each in models]
    stems = together.stems_of(
        manifests, first.manifest if first else None, intermediate=intermediate
    )
    separator = _mean(models, weights, shifts, turns)
    if first is None:
        return separator, stems
    if separator.rest and manifests[0].stems[-1] != REST:
        separator = Completed(separator, manifests[0].stems[-1])
    chain = Chain(
        _whole(first, shifts),
        separator,
        together.parts_of(manifests),
        intermediate=intermediate,
        turns=turns,
    )
    return chain, stems


def _mean(
    models: Sequence[Loaded], weights: Sequence[float], shifts: int, turns: Turns | None
) -> Separator:
    if len(models) == 1:
        return shifted(models[0].separator, shifts)
    # What all leave of the mix in the same way is found once, at the mix's own rate.
    alike = len({(each.manifest.rest, each.manifest.stems[-1]) for each in models}) == 1
    members = [
        shifted(each.separator, shifts) if alike else _whole(each, shifts) for each in models
    ]
    every = torch.tensor(weights).unsqueeze(1).expand(-1, len(members[0].stems))
    return Ensemble(members, every, turns)


def _whole(model: Loaded, shifts: int) -> Separator:
    """Return its Separator, with what its others leave of the mix as a stem, if it has that."""
    separator = shifted(model.separator, shifts)
    return Completed(separator, model.manifest.stems[-1]) if separator.rest else separator
