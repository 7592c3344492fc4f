"""JSON to frozen dataclasses and back, strict about types and deaf to unknown fields."""

from __future__ import annotations

import sys
import types
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
MOST = 1 << 63  # integers are of 64 bits


class FormError(ValueError):
    """A message has not the form that its type asks for; the text names the field."""


def decode(kind: type[T], raw: object) -> T:
    """Build a `kind` from decoded JSON; raise FormError where a value does not fit."""
    return _value(kind, raw, kind.__name__)  # type: ignore[no-any-return]


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _value(kind: Any, raw: object, where: str) -> Any:  # noqa: ANN401
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _union(kind, raw, where)
    if origin is Literal:
        if raw in get_args(kind) and not isinstance(raw, bool):
            return raw
        raise FormError(f"{where} must be one of {', '.join(map(str, get_args(kind)))}")
    if origin is tuple and isinstance(raw, list | tuple):
        item = get_args(kind)[0]
        return tuple(_value(item, each, f"{where}[{i}]") for i, each in enumerate(raw))
    if origin is dict and isinstance(raw, dict):
        item = get_args(kind)[1]
        return {str(key): _value(item, each, f"{where}.{key}") for key, each in raw.items()}
    if is_dataclass(kind) and isinstance(raw, dict):
        return _object(kind, raw, where)
    if _is_scalar(kind, raw):
        return raw
    raise FormError(f"{where} must be {getattr(origin or kind, '__name__', kind)}")


def _is_scalar(kind: Any, raw: Any) -> bool:  # noqa: ANN401
    if kind is float and type(raw) in (int, float):
        return bool(abs(raw) <= sys.float_info.max)  # no NaN, no infinity
    if kind is int and type(raw) is int:
        return -MOST <= raw < MOST
    return kind in (str, bool, types.NoneType) and type(raw) is kind


def _union(kind: Any, raw: object, where: str) -> Any:  # noqa: ANN401
    faults = []
    for choice in get_args(kind):
        try:
            return _value(choice, raw, where)
        except FormError as fault:
            faults.append(str(fault))
    raise FormError(" or ".join(faults))


def _object(kind: Any, raw: dict[Any, Any], where: str) -> Any:  # noqa: ANN401
    hints = _hints(kind)
    found = {}
    for field in fields(kind):
        if field.name in raw:
            found[field.name] = _value(hints[field.name], raw[field.name], f"{where}.{field.name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise FormError(f"{where}.{field.name} is missing")
    try:
        return kind(**found)
    except ValueError as fault:
        raise FormError(f"{where}: {fault}") from fault
