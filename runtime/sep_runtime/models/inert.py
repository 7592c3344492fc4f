"""What checkpoints of training tools hold besides weights, as things that do nothing.

The restricted unpickler refuses every global it does not know, and the notes of a training run
are full of them: a score is a numpy scalar, the command line an argparse.Namespace. None of them
is needed, so their names stand here for stand-ins. The real ones are never made: even numpy's
dtype and ndarray take a state of the file's choosing on trust.
"""

from __future__ import annotations

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
)  # fmt: skip


class _Inert:
    """Takes any arguments and any state, and keeps neither."""

    def __new__(cls, *_: object) -> Self:
        return super().__new__(cls)

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _called(name: str, base: type, **members: Any) -> type:  # noqa: ANN401 (of a class's body)
    module, _, last = name.rpartition(".")
    return type(last, (base,), {"__module__": module, "__qualname__": last, **members})


# Containers that weights may lie in, as plain ones: the unpickler fills no others.
INERT: list[Callable[..., object] | tuple[Callable[..., object], str]] = [
    *(_called(name, _Inert) for name in _NAMES),
    _called("collections.defaultdict", dict, __new__=lambda *_: {}),
    _called("collections.deque", list, __new__=lambda *_: []),
]
