"""Weights from disk: safetensors, or a checkpoint through the restricted unpickler."""

from __future__ import annotations

import logging
import pickle
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file

from sep_protocol.errors import ModelError, SepError
from sep_runtime import digests, memory
from sep_runtime.models import families, kinds, package
from sep_runtime.models.inert import INERT
from sep_runtime.models.states import states_in
from sep_runtime.models.words import shown

if TYPE_CHECKING:
    from pathlib import Path

    from sep_runtime.models.package import Package
    from sep_runtime.models.states import State

_ONE_AT_A_TIME = threading.Lock()  # the unpickler's list of globals is the process's

log = logging.getLogger(__name__)


def digest(path: Path) -> str:
    """Return the file's SHA-256 in hex; raise ModelError where it cannot be read."""
    try:
        return digests.of(path)
    except OSError as fault:
        raise ModelError(
            f"the weights {{path}} cannot be read: {fault.strerror}",
            path=str(path),
        ) from fault


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is in a file of weights."""

    states: tuple[State, ...]  # every state dict, the best first
    package: Package | None  # what a demucs package says of itself


def read(path: Path) -> tuple[State, ...]:
    """Return every state dict in a file, the best first, whatever its suffix; raise as `opened`."""
    return opened(path).states


def opened(path: Path) -> Checkpoint:
    """Return what is in a file, whatever its suffix.

    Raises ModelError where it is no file of weights, MemoryLimitError where it does not fit.
    """
    kind = kinds.kind_of(path)
    try:
        loaded = _load(path, kind)
        if kind == "safetensors":
            said = package.of_safetensors(path)
            quantised = package.is_quantised_safetensors(path)
        else:
            said = package.of_pickle(loaded)
            quantised = package.is_quantised(loaded)
    except Exception as fault:  # torch.load raises whatever a hostile or broken pickle makes it
        raise _named(path, kind, fault) from fault
    if quantised:
        raise families.quantised(str(path))
    return Checkpoint(states_in(loaded, path), said)


def _load(path: Path, kind: kinds.Kind) -> object:
    named = _is_utf8(path)
    if kind == "safetensors":
        return load_file(path) if named else load(path.read_bytes())
    # By its name, torch.load takes a file for safetensors; and a mapping, which needs the name,
    # neither unpacks a compressed part nor knows torch's older form.
    mapped = kind == "stored" and named and path.suffix != ".safetensors"
    with _ONE_AT_A_TIME, torch.serialization.safe_globals(INERT), path.open("rb") as file:
        return torch.load(
            path if mapped else file, map_location="cpu", weights_only=True, mmap=mapped
        )


def _is_utf8(path: Path) -> bool:
    """Say whether libraries that take names of files in UTF-8 alone can open it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _named(path: Path, kind: kinds.Kind, fault: Exception) -> SepError:
    """Return what people are told of an error while reading; torch's own words go to the log."""
    if memory.is_short(fault):
        return memory.error(fault)
    text = str(fault)
    log.warning("%s: %s", shown(path.name), shown(text))
    if isinstance(fault, SafetensorError):
        return kinds.damaged(path, "they are cut off, or not what their beginning says")
    refused = re.search(r"GLOBAL (\S+)", text)
    if isinstance(fault, pickle.UnpicklingError) and refused:
        if refused[1].startswith("diffq."):
            return families.quantised(str(path))
        if family := families.of_global(refused[1]):
            return families.error("{path} is", family, str(path))
        return ModelError(
            f"{{path}} holds more than weights, {shown(refused[1])}, so it is not loaded: that "
            "could run any code",
            hint="ask its author for safetensors",
            path=str(path),
        )
    if "Unsupported operand" in text:
        return ModelError(
            "{path} is a pickle of a form that cannot be read safely",
            hint="ask its author for safetensors, or what torch.save writes by itself",
            path=str(path),
        )
    if kind == "streamed" and "magic number" in text:
        return ModelError(
            "{path} is a pickle, but none that PyTorch wrote", kinds.OTHER_FORM, str(path)
        )
    return kinds.damaged(path, "they cannot be read as a checkpoint")
