"""Which models this host has, and which one a run takes."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import stat
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sep_models
from sep_launcher.machine import facts, paths
from sep_launcher.planning import own
from sep_launcher.planning.request import AUTO, NONE
from sep_protocol.errors import ModelError, PathError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sep_models import Manifest, Source

MOST_HEADER = 100 << 20  # bytes, by the specification of safetensors
GB = 1e9
CHECKPOINTS = (".ckpt", ".pt", ".pth", ".th", ".safetensors")


def folder(manifest: Manifest) -> Path | None:
    """Return the folder with the model's weights, None where it is not installed."""
    if manifest.imported:
        return own.place(manifest.name)
    return sep_models.installed(manifest.name, paths.models())


def known(name: str) -> Manifest:
    """Return the model of that name, a user's own or one of the catalogue; raise ModelError."""
    if mine := own.find(name):
        return mine
    try:
        return sep_models.find(name)
    except ModelError as fault:
        near = {each.lower(): each for each in names()}
        close = difflib.get_close_matches(name.lower(), near, n=2)
        meant = f"did you mean {' or '.join(near[each] for each in close)}? " if close else ""
        raise ModelError(fault.message, hint=f"{meant}sep models list shows all") from fault


def default() -> Manifest | None:
    """Return what a run takes that names no model: the best drum model that is here."""
    ours = (each for each in sep_models.catalogue() if each.expects == "drums")
    return next((each for each in ours if folder(each)), None)


def for_songs() -> Manifest | None:
    """Return the best model that is here and takes the drums out of a song, a user's own last."""
    every = (*sep_models.catalogue(), *own.every())
    return next((each for each in every if takes_drums(each) and folder(each)), None)


def takes_drums(manifest: Manifest) -> bool:
    """Say whether it is for songs and gives their drums."""
    return manifest.expects == "a whole song" and sep_models.DRUMS in manifest.stems


def default_stems() -> tuple[str, ...]:
    """Return the stems of that model."""
    manifest = default()
    return manifest.stems if manifest else ()


def names() -> list[str]:
    """Return every name that `--model` knows."""
    return _names((*sep_models.catalogue(), *own.every()))


def published() -> list[str]:
    """Return every name and alias of the catalogue."""
    return _names(sep_models.catalogue())


def _names(manifests: Iterable[Manifest]) -> list[str]:
    return [name for each in manifests for name in (each.name, *each.aliases)]


def named_for_songs() -> list[str]:
    """Return every name that `--from-mix` knows."""
    return [AUTO, NONE, *_names(filter(takes_drums, (*sep_models.catalogue(), *own.every())))]


def here(manifest: Manifest) -> Path:
    """Return the folder with the model's weights; raise ModelError, or PathError."""
    where = folder(manifest)
    if where is None:
        _check_searchable(paths.models() / manifest.name)
        raise ModelError(f"the model {manifest.name} is not installed", hint=how(manifest))
    return where


def is_file(model: str) -> bool:
    """Say whether a file is meant, there or not, and not a model of the catalogue."""
    if Path(model).suffix.lower() in CHECKPOINTS or {"/", os.sep} & set(model):
        return True
    return os.path.isfile(model) or (model not in names() and os.path.lexists(model))  # noqa: PTH113


def check_readable(*files: Path | None) -> None:
    """Raise PathError unless each is a regular file that may be read. No other is opened."""
    for path in filter(None, files):
        _check_readable(path)


def _check_readable(path: Path) -> None:
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            path.open("rb").close()
            return
    except FileNotFoundError as fault:
        raise PathError(f"there is no file {path}") from fault
    except (OSError, ValueError) as fault:  # ValueError: a name that no file can have
        why = fault.strerror if isinstance(fault, OSError) else fault
        raise PathError(f"{path} cannot be read: {why}") from fault
    kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
    raise PathError(f"{path} is {kind}, not a file", hint="name the file itself")


def _check_searchable(folder: Path) -> None:
    """Raise PathError where it is not known whether a model is there."""
    try:
        folder.stat()
    except PermissionError as fault:
        raise PathError(
            f"{folder} cannot be searched: {fault.strerror}",
            hint="set SEP_HOME to a folder of yours",
        ) from fault
    except OSError:
        pass


def how(manifest: Manifest) -> str:
    """Return the next step to a model that is not here."""
    if manifest.imported:
        return (
            f"sep models import FILE --name {manifest.name} --overwrite (and --config YAML, if it "
            "had one)"
        )
    if fetchable(manifest):
        bytes_ = size(manifest)
        large = f"{megabytes(bytes_)}, " if bytes_ else ""
        return f"sep models pull {manifest.name} ({large}licence: {manifest.licence})"
    return f"{by_hand(manifest.sources[0])} (licence: {manifest.licence})"


def fetchable(manifest: Manifest) -> bool:
    """Say whether addresses of all its files are known."""
    known = all(source.urls for source in manifest.sources)
    return known and not (manifest.imported or manifest.bundled)


def megabytes(size: int) -> str:
    """Return a size in words."""
    return f"{size / 1e6:.0f} MB" if size < GB else f"{size / GB:.1f} GB"


def mend(manifest: Manifest) -> str:
    """Return the command that brings weights again that are damaged."""
    if manifest.bundled:
        return "sep setup --repair"
    return how(manifest) if manifest.imported else how(manifest).partition(" (")[0]


def by_hand(source: Source) -> str:
    """Return what can be done where a published file cannot be fetched."""
    if source.stem:  # one of several, which are of use together
        return "without that file the model cannot be used"
    return f"get {source.file} yourself, then: sep models import {source.file}"


def fault(manifest: Manifest, path: Path, *, hashed: bool, wanted: str | None = None) -> str:
    """Return what is wrong with a weights file, nothing where it is whole.

    A safetensors header says how long its file must be; `hashed` reads all of it, too, and
    compares with `wanted`, or what it was when it came here.
    """
    try:
        size = path.stat().st_size
        expected = _size_by_header(path, size)
        if size < expected:
            return f"it is cut off: {size} of {expected} bytes"
        if size > expected:
            return f"it has {size} bytes, {expected} are expected"
        wanted = wanted or digest_of(manifest)
        if hashed and wanted and digest(path) != wanted:
            return "its SHA-256 is another one"
    except FileNotFoundError:
        return "the file is missing"
    except OSError as fault:
        return f"it cannot be read: {fault.strerror}"
    except (ValueError, RecursionError):
        return "it is no safetensors file"
    return ""


def _size_by_header(path: Path, size: int) -> int:
    """Return how long a safetensors file must be; raise ValueError for another one, or OSError."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MOST_HEADER:
            raise ValueError("the header is too long")
        if length > size:
            return 8 + length
        header: Any = json.loads(file.read(length))
    try:
        ends = [each["data_offsets"][1] for name, each in header.items() if name != "__metadata__"]
        return int(8 + length + max(ends))
    except (AttributeError, KeyError, IndexError, TypeError) as fault:
        raise ValueError("the header is not of this kind") from fault


def digest(path: Path) -> str:
    """Return a file's SHA-256 in hex; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(manifest: Manifest) -> str | None:
    """Return the SHA-256 that weights had when they came here, None if nobody noted it."""
    if manifest.imported or folder(manifest) == sep_models.folder_of(manifest.name):
        return manifest.sha256
    noted = {each.model: each.sha256 for each in facts.read().weights}
    return noted.get(manifest.name)


def size(manifest: Manifest) -> int | None:
    """Return the bytes of the weights that are here, or of what would be fetched, if known."""
    if weights := _weights(manifest):
        with contextlib.suppress(OSError):
            return weights.stat().st_size
    published = [source.bytes for source in manifest.sources]
    return sum(filter(None, published)) if published and all(published) else None


def row(manifest: Manifest) -> dict[str, object]:
    """Return what is known of a model."""
    weights = _weights(manifest)
    return {
        "name": manifest.name,
        "aliases": list(manifest.aliases),
        "summary": manifest.summary,
        "expects": manifest.expects,
        "stems": list(manifest.stems),
        "rest": manifest.stems[-1] if manifest.rest else None,
        "architecture": manifest.architecture,
        "installed": weights is not None,
        "default": manifest == default(),
        "weights": str(weights) if weights else None,
        "bytes": size(manifest),
        "licence": manifest.licence,
        "licence_source": manifest.licence_source,
        "licence_date": manifest.licence_date,
        "scores": manifest.scores,
        "scored": manifest.scored,
        "sources": [asdict(source) for source in manifest.sources],
        "imported": manifest.imported,
    }


def _weights(manifest: Manifest) -> Path | None:
    where = folder(manifest)
    return where / sep_models.WEIGHTS if where else None


def table() -> list[dict[str, object]]:
    """Return a row per model of the catalogue, the best first."""
    return [row(each) for each in sep_models.catalogue()]


def present() -> list[Manifest]:
    """Return all that are here, the user's own last."""
    return [*(each for each in sep_models.catalogue() if folder(each)), *own.every()]


def verified(manifest: Manifest) -> dict[str, object]:
    """Return whether a model's weights are what they were when they came here; raise as `here`."""
    path = here(manifest) / sep_models.WEIGHTS
    noted = digest_of(manifest)
    return {
        "name": manifest.name,
        "weights": str(path),
        "sha256": noted,
        "fault": fault(manifest, path, hashed=True, wanted=noted),
    }
