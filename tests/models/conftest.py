"""What tests of the training share."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

CODE = Path(__file__).parents[2] / "models" / "training"


@pytest.fixture(scope="module")
def training():
    """Import modules of the training folder, which are no package."""
    before = dict(sys.modules)
    sys.path.insert(0, str(CODE))
    yield lambda *names: SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    sys.path.remove(str(CODE))
    for name in set(sys.modules) - set(before):
        if str(CODE) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
