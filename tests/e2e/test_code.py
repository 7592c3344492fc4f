"""The same version and other code: after a pull, an edit, with an image of last week."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sep_protocol import code

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copy(tmp_path):
    """The runtime's code at another place: (its folder, a Python that takes it from there)."""
    folder, python = tmp_path / "copy", tmp_path / "python"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "runtime", folder, ignore=ignored)
    python.write_text(f"#!/bin/sh\nPYTHONPATH='{folder}' exec '{sys.executable}' \"$@\"\n")
    python.chmod(0o755)
    return folder, python


def digest(python):
    ask = "from sep_protocol import code; print(code.digest())"
    told = subprocess.run([python, "-P", "-c", ask], capture_output=True, text=True, check=True)
    return told.stdout.strip()


def test_code_is_known_by_its_files(copy):
    folder, python = copy
    assert digest(python) == code.digest() != ""
    (folder / "sep_runtime" / "audio" / "__pycache__").mkdir(exist_ok=True)
    (folder / "sep_runtime" / "audio" / "__pycache__" / "x.py").touch()
    (folder / "sep_runtime" / "notes.txt").touch()
    assert digest(python) == code.digest()
    (folder / "sep_runtime" / "audio" / "new.py").touch()
    moved = digest(python)
    assert moved != code.digest()
    (folder / "sep_runtime" / "audio" / "new.py").rename(folder / "sep_runtime" / "new.py")
    assert len({digest(python), moved, code.digest()}) == 3
    if os.geteuid():
        (folder / "sep_runtime" / "new.py").chmod(0)
        assert digest(python) == ""


def test_a_run_by_other_code_is_told(sep, copy, tiny):
    folder, python = copy
    clip = ROOT / "models" / "sep_models" / "golden.flac"
    command = ("run", clip, "--model", tiny[0], "--model-config", tiny[1], "--json", "--overwrite")
    env = {"SEP_RUNTIME_PYTHON": str(python)}
    assert json.loads(sep(*command, env=env).stdout)["warnings"] == []
    with (folder / "sep_runtime" / "track.py").open("a") as file:
        file.write("# edited\n")
    done = sep(*command, env=env)
    (told,) = json.loads(done.stdout)["warnings"]
    assert told.startswith(f"{python} has other code than this sep, though both are ")
    assert f"{python} -m pip install" in done.stderr
