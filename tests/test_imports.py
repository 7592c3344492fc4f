"""What may be loaded when: the launcher starts in an instant and knows no tensors."""

import subprocess
import sys

import pytest

HEAVY = "{'torch', 'numpy', 'soundfile', 'docker', 'av', 'soxr', 'fsspec'}"


def loaded(code):
    check = f"import sys; {code}; print(sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("module", ["sep_launcher.cli", "sep_launcher.show.render", "sep_runtime"])
def test_importing_loads_nothing_heavy(module):
    assert loaded(f"import {module}") == "[]"


def test_version_loads_nothing_at_all():
    code = "sys.argv = ['sep', '--version']; from sep_launcher.__main__ import main; main()"
    assert loaded(code) == "[]"
    assert loaded(code + "; assert 'typer' not in sys.modules") == "[]"


def test_probing_and_routing_load_nothing_heavy():
    code = "from sep_launcher.machine import probe; from sep_launcher.planning import route"
    code += "; route.choose(probe.probe())"
    assert loaded(code) == "[]"
