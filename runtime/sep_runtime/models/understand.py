"""The door for a file of a stranger: what it is, and its weights, read once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sep_models
from sep_protocol.errors import UsageError
from sep_runtime.models import families, kinds, weights
from sep_runtime.models import settings as yamls

if TYPE_CHECKING:
    from pathlib import Path

    from sep_models import Manifest
    from sep_runtime.models.states import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """A checkpoint that sep can run."""

    manifest: Manifest
    states: tuple[State, ...]  # the best first, by the names that the network's keys have here


def understand(path: Path, settings: Path | None, name: str) -> Understood:
    """Return what a file of weights is, as a manifest called `name`, and the weights.

    The settings are the YAML of the training tool, if there is one; a file that the catalogue knows
    needs none. Raises ModelError where the file or its settings are none that sep runs,
    UsageError where it needs settings and has none, MemoryLimitError where it does not fit.
    """
    kinds.check_file(path, "the weights")
    known = None if settings else sep_models.of_file(weights.digest(path))
    states = weights.read(path)
    if settings is not None:
        return Understood(manifest=yamls.read(settings, name), states=states)
    if known is not None:
        return Understood(manifest=known, states=states)
    if family := families.of_weights(states):
        raise families.error("{path} is", family, str(path))
    raise UsageError(
        f"{path.name} is not a checkpoint that sep knows, so it needs its settings",
        hint="give the YAML that was published with it as settings",
        command="give the YAML that was published with it by --model-config",
    )
