"""Published weights, checked against their network, to the one safetensors file of a model."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import save_file

import sep_models
from sep_protocol.errors import PathError
from sep_runtime.models import separators, weights

if TYPE_CHECKING:
    import torch

    from sep_protocol import Install

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, 112)  # the last is Windows' own


def install(order: Install, name: str) -> None:
    """Write the weights of a model of the catalogue, whole or not at all.

    Nothing but weights is read: optimizer states and the like stay behind. Raises ModelError where
    the files are not this model's, PathError where its folder cannot be written.
    """
    manifest = sep_models.find(name)
    found: dict[str, torch.Tensor] = {}
    for published in order.files:
        state = weights.read(Path(published.file))[0]
        prefix = f"{published.stem}." if published.stem else ""
        found |= {prefix + key: value.contiguous() for key, value in state.items()}
    separators.check(manifest, [found])
    folder = Path(order.folder)
    partial = folder / f".{sep_models.WEIGHTS}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A file of our own: what a dead process left may be a link to another one.
        partial.unlink(missing_ok=True)
        partial.open("xb").close()
        save_file(found, partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(folder / sep_models.WEIGHTS)
    except (OSError, SafetensorError) as fault:
        why = "the disk is full" if _is_full(fault) else getattr(fault, "strerror", None) or fault
        raise PathError(f"{{path}} cannot be written: {why}", path=order.folder) from fault
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def _is_full(fault: Exception) -> bool:
    """Say whether a disk, or a user's part of it, is full; safetensors tells it in words alone."""
    if isinstance(fault, OSError):
        return fault.errno in FULL
    return any(f"(os error {number})" in str(fault) for number in FULL)
