"""What a demucs package says of itself beside its weights: its class and the arguments of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sep_runtime.models.inert import Network, Ratio

if TYPE_CHECKING:
    from fractions import Fraction
    from pathlib import Path
    from typing import TypeAlias

    # As documents have them, with fractions.
    Plain: TypeAlias = "bool | int | float | str | Fraction | list[Plain] | dict[str, Plain] | None"

HEADER_MOST = 8 << 20  # bytes of a safetensors header that is looked at
DEEPEST = 8  # tables in tables
MOST = 1000  # values
QUANTISED = "__quantized"  # the mark of diffq's states


@dataclass(frozen=True, slots=True)
class Package:
    """The class that the weights belong to, by its name without modules, and its arguments."""

    klass: str
    args: tuple[Plain, ...]
    kwargs: dict[str, Plain]


def of_pickle(loaded: object) -> Package | None:
    """Return what was pickled beside the weights, None where that was no demucs package."""
    if not isinstance(loaded, dict):
        return None
    klass = loaded.get("klass")
    if not (isinstance(klass, type) and issubclass(klass, Network)):
        return None
    return _package(klass.__qualname__, loaded.get("args"), loaded.get("kwargs"))


def of_safetensors(path: Path) -> Package | None:
    """Return what a file's metadata say, None where that is no demucs package."""
    metadata = _metadata(path)
    klass = metadata.get("klass")
    if not isinstance(klass, str):
        return None
    args, kwargs = (_json(metadata.get(key)) for key in ("args", "kwargs"))
    return _package(klass.strip("\"' <>").rpartition(".")[2], args, kwargs)


def is_quantised(loaded: object) -> bool:
    """Say whether what was pickled are diffq's packed numbers in place of weights."""
    if not isinstance(loaded, dict):
        return False
    return any(
        isinstance(each, dict) and QUANTISED in each for each in (loaded, loaded.get("state"))
    )


def is_quantised_safetensors(path: Path) -> bool:
    """Say whether the metadata tell how diffq's packed numbers become weights."""
    metadata = _metadata(path)
    return "klass" in metadata and "structure" in metadata


def _metadata(path: Path) -> dict[str, object]:
    """Return the metadata of a file whose beginning was checked."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if length <= HEADER_MOST else b""
    found = _json(header)
    metadata = found.get("__metadata__") if isinstance(found, dict) else None
    return metadata if isinstance(metadata, dict) else {}


def _json(text: object) -> object:
    if not isinstance(text, str | bytes):
        return None
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found


def _package(klass: str, args: object, kwargs: object) -> Package:
    budget = [MOST]
    plain = _plain(kwargs if isinstance(kwargs, dict) else {}, budget, 0)
    listed = _plain(list(args) if isinstance(args, list | tuple) else [], budget, 0)
    return Package(
        klass,
        tuple(listed) if isinstance(listed, list) else (),
        plain if isinstance(plain, dict) else {},
    )


def _plain(value: object, budget: list[int], depth: int) -> Plain:
    """Return the value in plain types; what is none, too deep or too much, as a word for it."""
    budget[0] -= 1
    if isinstance(value, Ratio):
        return value.value
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if not isinstance(value, list | tuple | dict):
        return f"a {type(value).__name__}"
    if len(value) > budget[0] or depth > DEEPEST:
        return "too much"
    if not isinstance(value, dict):
        return [_plain(each, budget, depth + 1) for each in value]
    if value.get("_type") == "fraction":
        return _fraction(value)
    return {key: _plain(each, budget, depth + 1) for key, each in value.items() if type(key) is str}


def _fraction(value: dict[object, object]) -> Plain:
    try:
        return Ratio(value.get("numerator"), value.get("denominator")).value
    except ValueError:
        return "no fraction"
