"""What tells that stems were made by the same models in the same way, whatever made them where.

Two tracks of one mix whose reports have the same identity and file names have the same stems, but
for rounding. So a batch, a device and paths are not in it, and a precision only where it was named:
what is made on one machine counts as done on another.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sep_models
from sep_launcher.planning import models
from sep_models import canonical

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sep_launcher.planning.choice import Chosen, Pick
    from sep_launcher.planning.request import Request
    from sep_models import Manifest

FORM = 1  # of what is hashed: another number makes every identity another one
# Of a manifest: what decides the stems beside the weights.
FACTS = (
    "stems",
    "rest",
    "architecture",
    "sample_rate",
    "chunk",
    "scheme",
    "normalize",
    "network",
)


def identity(request: Request, chosen: Chosen, stems: Sequence[str]) -> str:
    """Return the identity in hex, nothing where some weights are not here or cannot be read.

    `stems` are those that will be written; none: only the checkpoint knows them. A checkpoint is
    read to its end.
    """
    try:
        every = [_weights(each) for each in chosen.every]
    except OSError:
        return ""
    return made(request, chosen, stems, every)


def made(
    request: Request, chosen: Chosen, stems: Sequence[str], weights: Sequence[Sequence[str]]
) -> str:
    """Return the identity in hex; `weights` are the SHA-256 of each model's files. Pure."""
    shares = request.weights or (1.0,) * len(chosen.mean)
    mean = [each / sum(shares) for each in shares]
    parts = [0.0] * bool(chosen.first) + mean
    output = request.output
    asked = sorted(map(canonical, output.stems or ()))
    found = {
        "form": FORM,
        "models": [
            {
                "weights": list(files),
                "facts": _facts(each.manifest),
                "overlap": _overlap(each.manifest, request.overlap),
                "from_mix": each is chosen.first,
                "share": share,
            }
            for each, files, share in zip(chosen.every, weights, parts, strict=True)
        ],
        "shifts": request.shifts,
        "format": output.format,
        "bit_depth": output.bit_depth,
        "stems": list(stems) or asked,
        "residual": output.residual,
        "intermediate": output.intermediate,
        "downmix": request.downmix,
        "precision": request.precision,
    }
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def _facts(manifest: Manifest | None) -> dict[str, Any]:
    return {name: getattr(manifest, name) for name in FACTS} if manifest else {}


def _overlap(manifest: Manifest | None, asked: float | None) -> float | None:
    return asked if asked is not None or manifest is None else manifest.overlap


def _weights(pick: Pick) -> tuple[str, ...]:
    """Return the SHA-256 of a model's weights, and of a checkpoint's settings; raises OSError.

    Of models that were fetched or imported it was noted then; runs are refused where it is another.
    """
    model, manifest = pick.model, pick.manifest
    if manifest is None:
        files = (model.checkpoint, model.settings)
        return tuple(models.digest(Path(each)) for each in files if each)
    noted = models.digest_of(manifest)
    folder = Path(model.folder) if model.folder else sep_models.folder_of(manifest.name)
    return (noted or models.digest(folder / sep_models.WEIGHTS),)
