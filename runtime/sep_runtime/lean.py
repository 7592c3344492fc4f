"""`import torch` without what only tensors without numbers need: a third of its time.

Its last lines register Python kernels of the `meta` device, and import all of torch's
decompositions for that: for `torch.compile`, `torch.export` and fake tensors, of which nothing here
makes any. Who asks the module for something gets the real one. Only a process of our own may do
this: in a user's program torch is the user's.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

META = "torch._meta_registrations"


class _Later(ModuleType):
    """Stands for a module until somebody looks for something in it."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # the import system's own questions
            raise AttributeError(name)
        if sys.modules.get(META) is self:
            del sys.modules[META]
        return getattr(importlib.import_module(META), name)


def leave_out() -> None:
    """Have the first `import torch` of this process leave that out."""
    if "torch" not in sys.modules:
        sys.modules[META] = _Later(META)
