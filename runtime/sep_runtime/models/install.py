"""Published weights, checked against their network, to the one safetensors file of a model."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

import sep_models
from sep_protocol.errors import ModelError, PathError
from sep_runtime.models import larsnet, mdx23c, weights

if TYPE_CHECKING:
    from sep_models import Manifest
    from sep_protocol import Install


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
    check(found, manifest)
    folder = Path(order.folder)
    partial = folder / f".{sep_models.WEIGHTS}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(found, partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(folder / sep_models.WEIGHTS)
    except OSError as fault:
        raise PathError(
            f"{{path}} cannot be written: {fault.strerror}", path=order.folder
        ) from fault
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def check(found: dict[str, torch.Tensor], manifest: Manifest) -> None:
    """Raise ModelError unless these are the weights of the model's networks, key by key."""
    cpu = torch.device("cpu")
    if manifest.architecture == "larsnet":
        surplus = {key.partition(".")[0] for key in found} - set(manifest.stems)
        if surplus:
            raise ModelError(f"{manifest.name} has no stem {', '.join(sorted(surplus))}")
        larsnet.build([found], manifest.stems, cpu)
    else:
        shape = mdx23c.shape_of(manifest.network, len(manifest.stems))
        mdx23c.build(shape, [found], cpu)
