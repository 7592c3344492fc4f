"""What checkpoints of training tools hold besides weights, as things that do nothing.

The restricted unpickler refuses every global it does not know, and the notes of a training run
are full of them: a score is a numpy scalar, the command line an argparse.Namespace. None of them
is needed, so their names stand here for stand-ins. The real ones are never made: even numpy's
dtype and ndarray take a state of the file's choosing on trust.

Two kinds keep something, because a demucs package says with them what it is: of a network's class
its name, of a fraction its two numbers.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable

_SCALARS = "bool bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64"
_NAMES = (
    *(f"numpy.{core}.multiarray.{each}" for core in ("core", "_core")
      for each in ("scalar", "_reconstruct")),
    *("numpy.dtype", "numpy.ndarray", *(f"numpy.{each}" for each in _SCALARS.split())),
    *(f"{module}.{pure}{kind}Path" for module in ("pathlib", "pathlib._local")
      for pure in ("", "Pure") for kind in ("", "Posix", "Windows")),
    *("argparse.Namespace", "types.SimpleNamespace"),
    # Arguments of a defaultdict.
    *(f"builtins.{each}" for each in ("bool", "dict", "float", "int", "list", "str", "tuple")),
    # The settings of a training run, as its tool has them.
    *(f"omegaconf.{each}" for each in (
        "dictconfig.DictConfig", "listconfig.ListConfig", "base.ContainerMetadata",
        "base.Metadata", "base.SCMode", *(f"nodes.{kind}Node" for kind in (
            "Any", "Integer", "Float", "String", "Boolean", "Bytes", "Path", "Enum")))),
    *("typing.Any", "ml_collections.config_dict.config_dict.ConfigDict"),
)  # fmt: skip
_NETWORKS = ("demucs.htdemucs.HTDemucs", "demucs.hdemucs.HDemucs", "demucs.demucs.Demucs")
_LARGEST = 10**9  # of a fraction's numbers


class _Inert:
    """Takes any arguments and any state, and keeps neither."""

    def __new__(cls, *_: object) -> Self:
        return super().__new__(cls)

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class Network(_Inert):
    """Stands for a network's class."""


class Ratio(_Inert):
    """Stands for a Fraction, of two whole numbers or of a text as older Pythons write it."""

    def __init__(self, *numbers: object) -> None:
        """Keep the value; raise ValueError where it is none, or beyond reason."""
        if len(numbers) == 1 and isinstance(numbers[0], str):
            written = re.fullmatch(r"(-?[0-9]{1,9})(?:/([0-9]{1,9}))?", numbers[0])
            numbers = tuple(int(each or 1) for each in written.groups()) if written else ()
        top, bottom = (*numbers, 1)[:2] if numbers else (None, None)
        if type(top) is not int or type(bottom) is not int or not 0 < bottom <= _LARGEST:
            raise ValueError("a fraction is none")
        if abs(top) > _LARGEST:
            raise ValueError("a fraction's numbers are too large")
        self.value = Fraction(top, bottom)


def _called(name: str, base: type, **members: Any) -> type:  # noqa: ANN401 (of a class's body)
    module, _, last = name.rpartition(".")
    return type(last, (base,), {"__module__": module, "__qualname__": last, **members})


# Containers that weights may lie in, as plain ones: the unpickler fills no others.
INERT: list[Callable[..., object] | tuple[Callable[..., object], str]] = [
    *(_called(name, _Inert) for name in _NAMES),
    *(_called(name, Network) for name in _NETWORKS),
    _called("fractions.Fraction", Ratio),
    _called("collections.defaultdict", dict, __new__=lambda *_: {}),
    _called("collections.deque", list, __new__=lambda *_: []),
]
