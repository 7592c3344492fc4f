"""This installation as a wheel: what setup and image builds install, never a name from an index."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from sep_launcher.setup.running import program
from sep_protocol.errors import NotReadyError, PathError

if TYPE_CHECKING:
    from importlib.metadata import Distribution

DISTRIBUTION = "sep-audio"
# Written by whoever installed it, not part of what was installed.
NOT_OURS = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json", "uv_cache.json")
EPOCH = (2020, 1, 1, 0, 0, 0)  # the same installation gives the same bytes


def wheel_of_this(folder: Path) -> Path:
    """Write this installation's wheel into a folder; return its path.

    An installed one is packed again from its RECORD and every hash is checked; an editable one is
    built from its checkout. Raises NotReadyError where the installation is not whole.
    """
    try:
        dist = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise NotReadyError(
            "this sep was not installed, so it cannot be packed",
            hint="install it: python -m pip install <its folder or wheel>",
        ) from None
    folder = folder.resolve()  # the build runs in the checkout
    checkout = checkout_of(dist)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _built(checkout, folder) if checkout else _packed(dist, folder)
    except OSError as fault:
        raise PathError(f"no wheel can be written in {folder}: {fault.strerror}") from fault


def checkout_of(dist: Distribution) -> Path | None:
    """Return the checkout of an editable installation, None for any other."""
    direct = json.loads(dist.read_text("direct_url.json") or "{}")
    if not direct.get("dir_info", {}).get("editable"):
        return None
    path = unquote(urlsplit(direct["url"]).path)
    # file:///C:/sep has a slash before its drive
    return Path(path[1:] if sys.platform == "win32" else path)


def _packed(dist: Distribution, folder: Path) -> Path:
    record = csv.reader(io.StringIO(dist.read_text("RECORD") or ""))
    files = [(name, digest) for name, digest, *_ in record if _is_ours(name)]
    tag = f"{dist.version}-py3-none-any"
    target = folder / f"{DISTRIBUTION.replace('-', '_')}-{tag}.whl"
    partial = target.with_suffix(f".{os.getpid()}.part")
    try:
        with partial.open("xb") as file:  # no link to another file
            _pack(dist, files, file)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _pack(dist: Distribution, files: list[tuple[str, str]], target: IO[bytes]) -> None:
    rows = []
    info = ""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for name, digest in sorted(files):
            body = _checked(Path(str(dist.locate_file(name))), digest)
            packed.writestr(zipfile.ZipInfo(name, EPOCH), body, zipfile.ZIP_DEFLATED)
            rows.append(f"{_quoted(name)},{_hash(body)},{len(body)}")
            if PurePosixPath(name).name == "METADATA":
                info = str(PurePosixPath(name).parent)
        if not info:
            raise NotReadyError("this installation of sep has no metadata", hint=_AGAIN)
        rows.append(f"{info}/RECORD,,")
        lines = "\n".join(rows) + "\n"
        packed.writestr(zipfile.ZipInfo(f"{info}/RECORD", EPOCH), lines, zipfile.ZIP_DEFLATED)


_AGAIN = "in a clone of sep: sh installers/install.sh, or pip install --force-reinstall ."


def _is_ours(name: str) -> bool:
    """Leave out scripts (made from entry points), caches, and what the installer noted."""
    path = PurePosixPath(name)
    outside = path.is_absolute() or ".." in path.parts
    return not (outside or "__pycache__" in path.parts or path.name in NOT_OURS)


def _checked(path: Path, digest: str) -> bytes:
    try:
        body = path.read_bytes()
    except OSError as fault:
        message = f"this installation of sep is not whole: {path}: {fault.strerror}"
        raise NotReadyError(message, hint=_AGAIN) from fault
    if digest and digest != _hash(body):
        raise NotReadyError(f"this installation of sep was changed: {path}", hint=_AGAIN)
    return body


def _hash(body: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}"


def _quoted(name: str) -> str:
    return f'"{name}"' if "," in name else name


def _built(checkout: Path, folder: Path) -> Path:
    """Build the checkout with whatever can build it here.

    It runs in the checkout and takes no module from there. `-P` and not `-I`: what is used may be
    on this Python's own PYTHONPATH.
    """
    if importlib.util.find_spec("hatchling"):
        command = [sys.executable, "-P", "-m", "hatchling", "build", "-t", "wheel"]
        command += ["-d", str(folder)]
    elif uv := program("uv"):
        command = [uv, "build", "--wheel", "--quiet", "--out-dir", str(folder), str(checkout)]
    else:
        command = [sys.executable, "-P", "-m", "pip", "wheel", "--quiet", "--no-deps"]
        command += ["--wheel-dir", str(folder), str(checkout)]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("sep_audio-*.whl"), key=lambda each: each.stat().st_mtime)
    if done.returncode or not wheels:
        last = (done.stderr or done.stdout).strip().rpartition("\n")[2]
        raise NotReadyError(
            f"the checkout {checkout} cannot be built: {last}",
            hint="pip install hatchling",
        )
    return wheels[-1]
