"""From a model of a Job to a Separator on a device: the only place that knows architectures."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import sep_models
from sep_protocol.errors import ModelError, UsageError
from sep_runtime.models import families, kinds, larsnet, mdx23c, settings, weights

if TYPE_CHECKING:
    import torch

    from sep_models import Manifest
    from sep_protocol import Model
    from sep_runtime.streams.overlap import Separator


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A Separator with the facts it was made from."""

    separator: Separator
    manifest: Manifest
    sha256: str  # of the weights


def load(
    model: Model,
    device: torch.device,
    *,
    overlap: float | None = None,
    batch: int | None = None,
) -> Loaded:
    """Return the model on the device.

    Raises ModelError where it is missing or corrupt, UsageError where an option does not fit it.
    """
    manifest, path, sha256 = _locate(model)
    if manifest.bundled and manifest.sha256 != sha256:
        raise ModelError(
            f"the weights of {manifest.name} are damaged: their SHA-256 is not the recorded one",
            hint="install sep-audio again",
            command="run: sep setup --repair (for an image: sep setup --engine container --repair)",
        )
    if model.sha256 is not None and model.sha256 != sha256 and model.checkpoint:
        raise ModelError(
            f"{path.name} is another file than the one that was called {model.name}",
            hint=f"sep models add {model.name} FILE, if that is what you want",
        )
    if model.sha256 is not None and model.sha256 != sha256:
        raise ModelError(
            f"the weights of {manifest.name} are damaged: their SHA-256 is not the one noted",
            hint="fetch them again",
            command=f"sep models pull {manifest.name}",
        )
    found = weights.read(path)
    separator: Separator
    if manifest.architecture == "larsnet":
        if overlap not in (None, 1.0):
            raise UsageError(
                "larsnet knows no overlap", hint="leave it out", command="leave out --overlap"
            )
        if batch not in (None, 1):
            raise UsageError(
                "larsnet knows no batch", hint="leave it out", command="leave out --batch"
            )
        networks = larsnet.build(found, manifest.stems, device)
        separator = larsnet.LarsNet(
            networks, stems=manifest.stems, sample_rate=manifest.sample_rate
        )
    else:
        shape = mdx23c.shape_of(manifest.network, len(manifest.stems))
        wanted = manifest.overlap if overlap is None else overlap
        cut = mdx23c.cut_for(shape, manifest.chunk, wanted, batch)
        separator = mdx23c.Mdx23c(
            mdx23c.build(shape, found, device),
            stems=manifest.stems,
            sample_rate=manifest.sample_rate,
            cut=cut,
        )
    return Loaded(separator=separator, manifest=manifest, sha256=sha256)


def _locate(model: Model) -> tuple[Manifest, Path, str]:
    """Return the model's manifest, its weights file and that file's SHA-256."""
    if model.checkpoint is not None:
        path = Path(model.checkpoint)
        kinds.check_file(path, "the weights")
        sha256 = weights.digest(path)
        if model.settings is not None:
            return settings.read(Path(model.settings), model.name), path, sha256
        known = sep_models.of_file(sha256)
        if known is None:
            # What is no weights, or of another network, needs no settings.
            if family := families.of_weights(weights.read(path)):
                raise families.error("{path} is", family, str(path))
            raise UsageError(
                f"{path.name} is not a checkpoint that sep knows, so it needs its settings",
                hint="give the YAML that was published with it as settings",
                command="give the YAML that was published with it by --model-config",
            )
        return known, path, sha256
    manifest = sep_models.find(model.name)
    folder = Path(model.folder) if model.folder else sep_models.folder_of(manifest.name)
    path = folder / sep_models.WEIGHTS
    if not os.path.isfile(path):  # noqa: PTH113 (it raises for no name and no right)
        raise ModelError(
            f"the model {manifest.name} is not installed: there are no weights in {{path}}",
            hint=_how(manifest),
            command="sep models list",
            path=str(folder),
        )
    return manifest, path, weights.digest(path)


def _how(manifest: Manifest) -> str:
    """Return how a program's user comes by the weights of a model."""
    if manifest.bundled:
        return "install sep-audio again"
    if all(source.urls for source in manifest.sources):
        return f"in a shell, `sep models pull {manifest.name}` fetches it"
    return f"get {manifest.sources[0].file} and load it as checkpoint"
