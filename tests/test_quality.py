"""The tools that read the code: they pass, on everything that is tracked."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

TOOLS = Path(sys.executable).parent
CHECKS = [
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports", "--no-logo"),
]


@pytest.mark.parametrize("command", CHECKS, ids=" ".join)
def test_tool(command):
    tool = shutil.which(command[0], path=str(TOOLS))
    done = subprocess.run(
        [tool, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
