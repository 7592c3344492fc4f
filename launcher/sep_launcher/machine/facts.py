"""What `sep setup` and `sep doctor --deep` found out, kept in one file. Absent means unknown."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING

from sep_launcher.machine import disk, paths
from sep_launcher.machine.host import Snr  # noqa: TC001 (`decode` reads the annotations)
from sep_protocol.codec import FormError, decode
from sep_protocol.errors import PathError

if TYPE_CHECKING:
    from pathlib import Path

    from sep_launcher.machine.host import Gpu

PARTIAL = ".sep-facts-"  # what a file begins with that is not whole yet
BROKEN = (ValueError, RecursionError)  # what reading another file as JSON raises


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The environment that setup made."""

    python: str
    folder: str
    version: str  # of the sep in it
    build: str  # of its torch: a row of the table
    installer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What a Python, or an image, could do with the golden clip on this machine."""

    python: str  # its path, or the image's digest
    machine: str  # its fingerprint; on another one the check says nothing
    torch: str
    cuda: bool | None = None  # None: not tried
    mps: bool | None = None
    snr: tuple[Snr, ...] = ()  # of each device and precision that was measured

    def with_snr(self, found: Snr) -> Check:
        """Return the check with this measurement in the place of an older one of the same."""
        of = (found.device, found.precision)
        others = tuple(each for each in self.snr if (each.device, each.precision) != of)
        return replace(self, snr=(*others, found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """Weights that were converted here, so that damage shows later."""

    model: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The file."""

    native: Environment | None = None
    checks: tuple[Check, ...] = field(default=())
    weights: tuple[Converted, ...] = field(default=())

    def check_of(self, python: str, machine: str) -> Check | None:
        """Return what is known of a Python on this machine."""
        for each in self.checks:
            if (each.python, each.machine) == (python, machine):
                return each
        return None

    def with_check(self, check: Check) -> Facts:
        """Return the facts with this check in the place of older ones of the same Python."""
        others = tuple(each for each in self.checks if each.python != check.python)
        return replace(self, checks=(*others, check))

    def with_weights(self, converted: Converted) -> Facts:
        """Return the facts with these weights in the place of older ones of the same model."""
        others = tuple(each for each in self.weights if each.model != converted.model)
        return replace(self, weights=(*others, converted))


def read() -> Facts:
    """Return what is recorded; nothing where the file is missing or not ours."""
    if not disk.is_file(paths.facts()):
        return Facts()
    try:
        return decode(Facts, json.loads(paths.facts().read_text(encoding="utf-8")))
    except (OSError, *BROKEN):
        return Facts()


def fault() -> str:
    """Return what is wrong with the file, nothing where it is fine or not there."""
    path = paths.facts()
    try:
        _ours(path)
    except FileNotFoundError:
        return ""
    except OSError as fault:
        return f"{path} cannot be read: {fault.strerror}"
    except BROKEN as fault:
        return f"{path}: {fault}"
    return ""


def written() -> list[Path]:
    """Return the files that `write` has left: the one of facts, if it is ours, and beginnings."""
    path = paths.facts()
    ours = [path] if path.is_file() and not fault() else []
    return [*ours, *path.parent.glob(f"{PARTIAL}*")]


def check() -> None:
    """Raise PathError where the file could not be written."""
    write(read(), try_only=True)


def write(facts: Facts, *, try_only: bool = False) -> None:
    """Replace the file, in one step; `try_only` leaves it as it is.

    Raises PathError where it cannot be written, or where a file of that name is somebody else's.
    """
    path = paths.facts()
    # A name that nobody can have put there, as a link to another file.
    partial = path.with_name(f"{PARTIAL}{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            _ours(path)
        with partial.open("x", encoding="utf-8") as file:
            file.write(json.dumps(asdict(facts), indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if not try_only:
            partial.replace(path)
    except (OSError, *BROKEN) as fault:
        why = fault.strerror if isinstance(fault, OSError) else f"it is not sep's ({fault})"
        raise PathError(
            f"{path} cannot be written: {why}",
            hint=f"move it away, or choose another folder with {paths.HOME_VARIABLE}",
        ) from fault
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def _ours(path: Path) -> None:
    """Raise one of BROKEN unless `write` has written this file; OSError as it comes."""
    found = json.loads(path.read_text(encoding="utf-8"))
    decode(Facts, found)
    surplus = set(found) - {each.name for each in fields(Facts)}
    if surplus or not found:
        raise FormError(f"{', '.join(sorted(surplus)) or 'nothing'} in it is not of sep's facts")


def fingerprint(system: str, version: str, gpus: tuple[Gpu, ...]) -> str:
    """Return what must stay the same for a check to hold: system build, GPUs and their driver."""
    cards = [f"{gpu.name} {gpu.driver}" for gpu in gpus]
    return ", ".join([f"{system} {version}", *cards])
