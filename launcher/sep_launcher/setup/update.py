"""The packages of the environment before in a new one, so that PyTorch is not fetched again.

They are hard links where the disk has such. Both installers replace a file and never write into
one, so what they do in one environment does not show in the other.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from sep_protocol.errors import PathError

if TYPE_CHECKING:
    from sep_launcher.setup.installers import Kind
    from sep_launcher.setup.torch_builds import Build

OURS = "sep_"  # what the new wheel brings: an installer leaves the same version as it is
NOTES = ".dist-info"  # folders of small files that installers write about a package


def usable(environment: Path, python: str, build: Build, kind: Kind) -> bool:
    """Say whether the packages of an environment do for a new one of this Python, as in 3.13."""
    found = packages(environment, python)
    needed = [found / f"torch-{build.torch}{NOTES}"]
    if kind == "pip":
        needed.append(found / "pip")  # uv leaves it out
    return _python(environment) == python and all(each.is_dir() for each in needed)


def packages(environment: Path, python: str) -> Path:
    """Return where an environment made by venv has its packages."""
    if os.name == "nt":
        return environment / "Lib" / "site-packages"
    return environment / "lib" / f"python{python}" / "site-packages"


def _python(environment: Path) -> str:
    """Return the version that an environment was made for, without its last number."""
    with contextlib.suppress(OSError, UnicodeError):
        for line in (environment / "pyvenv.cfg").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition("=")
            if name.strip() in ("version", "version_info"):  # venv's and uv's word for it
                return ".".join(value.strip().split(".")[:2])
    return ""


def copy(before: Path, environment: Path, python: str) -> None:
    """Bring the packages of an environment into a new one, sep's own aside; raises PathError."""
    source, target = packages(before, python), packages(environment, python)

    def left_out(folder: str, names: list[str]) -> list[str]:
        if Path(folder) != source:
            return []
        return [each for each in names if each.startswith(OURS) or (target / each).exists()]

    def bring(file: str, to: str) -> None:
        folder = Path(file).parent
        if folder != source and folder.suffix != NOTES:
            with contextlib.suppress(OSError):  # a disk without links
                os.link(file, to)
                return
        shutil.copy2(file, to)

    try:
        shutil.copytree(
            source,
            target,
            symlinks=True,
            ignore=left_out,
            copy_function=bring,
            dirs_exist_ok=True,
        )
    except OSError as fault:  # of the first file, or a list of all
        why = fault.strerror or fault.args[0][0][-1]
        raise PathError(f"{target} cannot be filled: {why}") from fault
