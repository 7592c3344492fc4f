"""Weights from disk: safetensors, or a checkpoint through the restricted unpickler."""

from __future__ import annotations

import hashlib
import pickle
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from sep_protocol.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

WRAPPERS = ("state_dict", "state", "model_state_dict")


def digest(path: Path) -> str:
    """Return the file's SHA-256 in hex; raise ModelError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as fault:
        raise ModelError(
            f"the weights {{path}} cannot be read: {fault.strerror}",
            hint="run: sep models list",
            path=str(path),
        ) from fault


def read(path: Path) -> dict[str, torch.Tensor]:
    """Return the state dict of a `.safetensors` file or a checkpoint; raise ModelError."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return _unwrap(torch.load(path, map_location="cpu", weights_only=True, mmap=True), path)
    except FileNotFoundError as fault:
        raise ModelError("there are no weights at {path}", path=str(path)) from fault
    except pickle.UnpicklingError as fault:
        raise ModelError(
            f"{path.name} holds more than weights, so it is not loaded: that could run any code",
            hint="ask its author for safetensors",
        ) from fault
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError, KeyError) as fault:
        first = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        raise ModelError(f"the weights {path.name} are damaged: {first}") from fault


def _unwrap(found: Any, path: Path) -> dict[str, torch.Tensor]:  # noqa: ANN401
    for wrapper in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    if isinstance(found, dict) and all(torch.is_tensor(value) for value in found.values()):
        return found
    raise ModelError(f"{path.name} holds no state dict")
