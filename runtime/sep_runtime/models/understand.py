"""The door for a file of a stranger: what it is, and its weights, read once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sep_models
from sep_protocol.errors import ModelError, UsageError
from sep_runtime.models import families, identify, kinds, settings_demucs, weights
from sep_runtime.models import settings as yamls
from sep_runtime.models.drafts import DisagreementError
from sep_runtime.models.identify_demucs import demucs_names
from sep_runtime.models.identity import in_words
from sep_runtime.models.words import shown

if TYPE_CHECKING:
    from pathlib import Path

    from sep_models import Manifest
    from sep_runtime.models.identity import Identity
    from sep_runtime.models.package import Package
    from sep_runtime.models.states import State

# What a file does not tell, by the network that is in it.
_UNTOLD = {
    "mdx23c": "hop, chunk and the stems' names",
    "bs-roformer": "hop, chunk and the stems' names",
    "mel-band-roformer": "hop, chunk and the stems' names",
    "scnet": "strides, chunk and the stems' names",
    "htdemucs": "the segment and the stems' names",
    "hdemucs": "the segment and the stems' names",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """A checkpoint that sep can run."""

    manifest: Manifest
    states: tuple[State, ...]  # the best first, by the names that the network's keys have here
    sha256: str  # of the file


def understand(path: Path, settings: Path | None, name: str) -> Understood:
    """Return what a file of weights is, as a manifest called `name`, and the weights.

    The settings are the YAML of the training tool, if there is one. A file that the catalogue
    knows needs none and has the catalogue's manifest; nor does a package of demucs, or torchaudio's
    HDemucs. Raises ModelError where the file or its settings are none that sep runs, UsageError
    where it needs settings and has none, MemoryLimitError where it does not fit.
    """
    kinds.check_file(path, "the weights")
    if settings is not None:  # which are not opened before the weights are read
        kinds.check_file(settings, "the settings")
    sha256 = weights.digest(path)
    known = None if settings else sep_models.of_file(sha256)
    found = weights.opened(path)
    if found.package and found.package.klass == "Demucs":
        raise families.error("{path} is", "a Demucs of the waveform alone", str(path))
    identity = identify.of(found.states)
    if identity is None:
        key = shown(next(iter(found.states[0])))
        raise families.not_run(
            f"{{path}} holds weights of a network that sep does not know, with {key}", str(path)
        )
    if identity.architecture is None:
        raise families.refusal(identity, str(path))
    states = found.states
    if identity.torchaudio:
        states = tuple(_renamed(state) for state in states)
    if known is not None:
        return Understood(manifest=known, states=states, sha256=sha256)
    if settings is not None:
        manifest = yamls.read(settings, name, identity, path.name)
    else:
        manifest = _of_itself(path, name, identity, found.package)
    return Understood(manifest=manifest, states=states, sha256=sha256)


def _of_itself(path: Path, name: str, identity: Identity, package: Package | None) -> Manifest:
    """Return the manifest that the file says without settings; raise UsageError, ModelError."""
    try:
        if package is not None:
            return settings_demucs.of_package(package, name, identity)
        if identity.torchaudio:
            return settings_demucs.of_torchaudio(name, identity)
    except DisagreementError as fault:
        raise ModelError(
            f"{{path}} says that it is {identity.called} of {in_words(fault.said)}, but its "
            f"weights are of {in_words(fault.found)}",
            kinds.AGAIN,
            str(path),
        ) from fault
    except ValueError as fault:
        raise ModelError(
            f"{{path}} is {identity.called} that sep does not run: {fault}",
            families.ANOTHER,
            str(path),
        ) from fault
    raise UsageError(
        f"{path.name} is {identity.sentence}: it needs its settings, for "
        f"{_UNTOLD[identity.architecture or '']} are not in it",
        hint="give the YAML that was published with it as settings",
        command="give the YAML that was published with it: sep models import FILE --config YAML, "
        "or --model-config for the one checkpoint of --model",
    )


def _renamed(state: State) -> State:
    """Return torchaudio's weights by demucs' names; no tensor is copied."""
    return {new: state[old] for old, new in demucs_names(state).items()}
