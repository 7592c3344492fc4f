"""Weights of others, checked against their network, to the one safetensors file of a model."""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import sep_models
from sep_models import Source
from sep_protocol.errors import ModelError, PathError
from sep_runtime import lasting
from sep_runtime.models import separators, stored, weights
from sep_runtime.models.understand import understand

if TYPE_CHECKING:
    from sep_models import Manifest
    from sep_protocol import Install, Model
    from sep_runtime.models.states import State


def install(order: Install, model: Model) -> None:
    """Write the weights of a model, whole or not at all; of a checkpoint what it is, too.

    Nothing but weights is read: optimizer states and the like stay behind. Raises ModelError where
    the files are not this model's, UsageError where a checkpoint needs settings and has none,
    PathError where the folder cannot be written, MemoryLimitError where it does not fit.
    """
    if model.checkpoint is None:
        manifest, state = _of_catalogue(order, sep_models.find(model.name))
    else:
        manifest, state = _own(model, Path(model.checkpoint))
    folder = Path(order.folder)
    weights_new, record_new = (_partial(folder, name) for name in (sep_models.WEIGHTS, "json"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sha256 = stored.write(weights_new, state)
        if manifest.imported:
            record_new.unlink(missing_ok=True)  # it may be a link to another file
            lasting.write(record_new, asdict(replace(manifest, sha256=sha256)))
        weights_new.replace(folder / sep_models.WEIGHTS)
        if manifest.imported:
            record_new.replace(folder / sep_models.RECORD)
    except OSError as fault:
        why = "the disk is full" if fault.errno in stored.FULL else fault.strerror
        raise PathError(f"{{path}} cannot be written: {why}", path=order.folder) from fault
    finally:
        for each in (weights_new, record_new):
            with contextlib.suppress(OSError):
                each.unlink()


def _partial(folder: Path, name: str) -> Path:
    return folder / f".{name}.{os.getpid()}"


def _of_catalogue(order: Install, manifest: Manifest) -> tuple[Manifest, State]:
    if any(published.stem for published in order.files):
        found: State = {}
        for published in order.files:
            state = weights.read(Path(published.file))[0]
            found |= {f"{published.stem}.{key}": value for key, value in state.items()}
        return manifest, separators.fitted(manifest, [found])
    paths = [Path(published.file) for published in order.files]
    if len(paths) != 1:
        raise ModelError(f"{manifest.name} has one file, not {len(paths)}")
    understood = understand(paths[0], None, manifest.name)
    if understood.manifest.name != manifest.name:
        message = f"{{path}} is the file of {understood.manifest.name}, not of {manifest.name}"
        raise ModelError(message, path=str(paths[0]))
    return manifest, separators.fitted(manifest, understood.states)


def _own(model: Model, path: Path) -> tuple[Manifest, State]:
    understood = understand(path, Path(model.settings) if model.settings else None, model.name)
    manifest = replace(
        understood.manifest,
        name=model.name,
        aliases=(),
        bundled=False,
        sources=(Source(file=path.name, sha256=understood.sha256, bytes=path.stat().st_size),),
        imported=datetime.now(tz=UTC).date().isoformat(),
    )
    return manifest, separators.fitted(manifest, understood.states)
