"""Which models this host has, and which one a run takes."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sep_models
from sep_launcher.machine import facts, paths
from sep_protocol import Model
from sep_protocol.errors import ModelError, PathError, UsageError

if TYPE_CHECKING:
    from sep_launcher.planning.request import Request
    from sep_models import Manifest

CHECKPOINTS = (".ckpt", ".pt", ".pth", ".th", ".safetensors")


def folder(manifest: Manifest) -> Path | None:
    """Return the folder with the model's weights, None where it is not installed."""
    inside = sep_models.folder_of(manifest.name)
    for each in (paths.models() / manifest.name, inside):
        if (each / sep_models.WEIGHTS).is_file():
            return each
    return None


def choose(request: Request) -> tuple[Model, Manifest | None]:
    """Return the model for the Job and, for one of the catalogue, its manifest.

    Raises ModelError for one that is not here, PathError for a missing file, UsageError for
    settings without a checkpoint.
    """
    if request.model is not None and _is_file(request.model):
        return _checkpoint(Path(request.model), request.model_config), None
    if request.model_config is not None:
        raise UsageError("--model-config belongs to a checkpoint", hint="--model FILE.ckpt")
    if request.model is None:
        manifest = next((each for each in sep_models.catalogue() if folder(each)), None)
        if manifest is None:
            raise ModelError("no model is installed", hint="run: sep setup --repair")
    else:
        manifest = sep_models.find(request.model)
    where = folder(manifest)
    if where is None:
        raise ModelError(f"the model {manifest.name} is not installed", hint=_how(manifest))
    bundled = where == sep_models.folder_of(manifest.name)
    return Model(name=manifest.name, folder=None if bundled else str(where)), manifest


def _is_file(model: str) -> bool:
    return Path(model).suffix.lower() in CHECKPOINTS or Path(model).is_file()


def _checkpoint(path: Path, settings: Path | None) -> Model:
    for each in (path, settings):
        if each is not None and not each.is_file():
            raise PathError(f"there is no file {each}")
    return Model(
        name=path.stem,
        checkpoint=str(path.resolve()),
        settings=str(settings.resolve()) if settings else None,
    )


def _how(manifest: Manifest) -> str:
    if all(source.urls for source in manifest.sources):
        return f"sep models pull {manifest.name} (licence: {manifest.licence})"
    return "sep models list --json has what is known of its files; give one with --model FILE"


def fault(manifest: Manifest, path: Path, *, hashed: bool, wanted: str | None = None) -> str:
    """Return what is wrong with a weights file, nothing where it is whole.

    A safetensors header says how long its file must be; `hashed` reads all of it, too, and
    compares with `wanted`, or what it was when it came here.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > size:
                return f"it is cut off: {size} bytes"
            header: dict[str, Any] = json.loads(file.read(length))
        ends = [each["data_offsets"][1] for name, each in header.items() if name != "__metadata__"]
        expected = 8 + length + max(ends)
        wanted = wanted or digest_of(manifest)
        if size == expected and hashed and wanted and digest(path) != wanted:
            return "its SHA-256 is another one"
    except FileNotFoundError:
        return "the file is missing"
    except (
        OSError,
        ValueError,
        struct.error,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
    ) as f:
        return f"it is no safetensors file ({type(f).__name__})"
    return "" if size == expected else f"it has {size} bytes, {expected} are expected"


def digest(path: Path) -> str:
    """Return a file's SHA-256 in hex; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(manifest: Manifest) -> str | None:
    """Return the SHA-256 that weights had when they came here, None if nobody noted it."""
    if folder(manifest) == sep_models.folder_of(manifest.name):
        return manifest.sha256
    noted = {each.model: each.sha256 for each in facts.read().weights}
    return noted.get(manifest.name)


def table() -> list[dict[str, object]]:
    """Return a row of facts per model of the catalogue."""
    here = [each for each in sep_models.catalogue() if folder(each)]
    return [
        {
            "name": each.name,
            "aliases": list(each.aliases),
            "summary": each.summary,
            "expects": each.expects,
            "stems": list(each.stems),
            "installed": each in here,
            "default": bool(here) and each == here[0],
            "licence": each.licence,
            "sources": [asdict(source) for source in each.sources],
        }
        for each in sep_models.catalogue()
    ]
