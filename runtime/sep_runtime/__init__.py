"""Inference: a Job in, stems on disk and Events out. Importing this package loads no torch.

`sep_runtime.load` is the door for Python programs; see `sep_runtime.api` and docs/python.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sep_protocol import __version__, errors

if TYPE_CHECKING:
    from sep_runtime.api import Model, load, load_chain
    from sep_runtime.stems import Stems

__all__ = ["Model", "Stems", "__version__", "errors", "load", "load_chain"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 (PEP 562)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sep_runtime import api  # noqa: PLC0415 (it imports torch)

    return getattr(api, name)


def __dir__() -> list[str]:
    return __all__
