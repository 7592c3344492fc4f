"""What a Python program's call says, checked as the command line checks what is typed.

Raises TypeError for a value of another kind, UsageError for one that cannot be.
"""

from __future__ import annotations

import os
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

import sep_models
from sep_models import home
from sep_protocol import Model, Precision, ensemble_fault, speed_fault
from sep_protocol.errors import ModelError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    AnyPath = str | os.PathLike[str]


def text(name: str, value: object) -> str:
    """Return a text."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a text, not {type(value).__name__}")
    return value


def whole(name: str, value: object, allowed: range | None = None) -> int:
    """Return a whole number, numpy's among them."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be a whole number, not {value!r:.80}")
    if allowed is not None and int(value) not in allowed:
        least, most = allowed[0], allowed[-1]
        raise UsageError(f"{name} must be from {least} to {most}, not {value}")
    return int(value)


def flag(name: str, value: object) -> bool:
    """Return True or False; a text is neither, whatever it says."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r:.80}")
    return value


def path(name: str, value: AnyPath | None) -> str | None:
    """Return a path as text, None for none."""
    return None if value is None else place(name, value)


def place(name: str, value: AnyPath) -> str:
    """Return a path as text."""
    found = text(name, os.fspath(value) if isinstance(value, os.PathLike) else value)
    if not found or "\0" in found:
        raise UsageError(f"{name} is {'no path' if found else 'an empty path'}")
    return found


def names(stems: Iterable[str] | None) -> tuple[str, ...] | None:
    """Return names of stems, None for all."""
    if stems is None:
        return None
    if isinstance(stems, str) or not hasattr(stems, "__iter__"):
        raise TypeError(f"stems must be a list of names, not {stems!r:.80}")
    found = tuple(text("a name in stems", each) for each in stems)
    if not found:
        raise UsageError("stems names none", hint="leave it out for all of them")
    return found


def check_speed(overlap: object, batch: object) -> None:
    """Check what decides how much work a mix is."""
    chunk_to_hop = None if overlap is None else number("overlap", overlap)
    at_once = None if batch is None else whole("batch", batch)
    if fault := speed_fault(chunk_to_hop, at_once):
        raise UsageError(fault)


def precision(value: object) -> Precision:
    """Return what the network is to compute in."""
    found, known = text("precision", value), get_args(Precision)
    if found not in known:
        raise UsageError(f"there is no precision {found!r:.80}", hint=f"one of {', '.join(known)}")
    return cast("Precision", found)


def ensemble(models: int, weights: Sequence[float] | None, shifts: object) -> tuple[float, ...]:
    """Check how stems are averaged; return the weights of the models."""
    shares = tuple(number("a weight", each) for each in weights or ())
    if fault := ensemble_fault(models, shares, whole("shifts", shifts)):
        raise UsageError(fault)
    return shares


def number(name: str, value: object) -> float:
    """Return a number, numpy's among them."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    return float(value)


def models(
    name: str | Sequence[str] | None,
    *,
    folder: AnyPath | None = None,
    checkpoint: AnyPath | None = None,
    settings: AnyPath | None = None,
) -> tuple[Model, ...]:
    """Return the models that the arguments of `load` name; several names are an ensemble."""
    if name is None or isinstance(name, str):
        return (model(name, folder=folder, checkpoint=checkpoint, settings=settings),)
    if not isinstance(name, list | tuple):
        raise TypeError(f"name must be a text or a list of them, not {type(name).__name__}")
    if not name:
        raise UsageError("there is no name in the list")
    if folder is not None or checkpoint is not None or settings is not None:
        raise UsageError("folder, checkpoint and settings are for one model")
    return tuple(model(text("a name of a model", each)) for each in name)


def model(
    name: str | None,
    *,
    folder: AnyPath | None = None,
    checkpoint: AnyPath | None = None,
    settings: AnyPath | None = None,
) -> Model:
    """Return the model that the arguments of `load` name."""
    weights, yaml = path("checkpoint", checkpoint), path("settings", settings)
    own = path("folder", folder)
    if name is not None:
        text("name", name)
    if weights is not None:
        if own is not None:
            raise UsageError("folder is for models of the catalogue, not for a checkpoint")
        return Model(name=name or Path(weights).stem, checkpoint=weights, settings=yaml)
    if yaml is not None:
        raise UsageError("settings belong to a checkpoint", hint="give that as checkpoint")
    if name is not None and (Path(name).suffix or Path(name).name != name):
        raise UsageError(f"{name!r} is no name of a model", hint="give a file as checkpoint")
    if name is not None and own is None and (mine := _own(name)):
        return Model(name=name, folder=mine)
    bundled = next(each for each in sep_models.catalogue() if each.bundled)
    known = bundled if name is None else sep_models.find(name)
    return Model(name=known.name, folder=own or _folder(known.name))


def _own(name: str) -> str | None:
    """Return the folder of the model that the user imported under that name, None for another."""
    try:
        folder = home.models() / name
        return str(folder) if sep_models.of_folder(folder).imported else None
    except (RuntimeError, ModelError):
        return None


def _folder(name: str) -> str | None:
    """Return the folder with a model's weights, or where they would be; None: in the package."""
    try:
        fetched = home.models()
    except RuntimeError:  # a user without a home
        return None
    return str(sep_models.installed(name, fetched) or fetched / name)
