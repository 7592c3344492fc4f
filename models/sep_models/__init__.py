"""The catalogue: one folder per model with `model.toml` (facts) and `card.md` (for people)."""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from sep_models.stems import DRUMS, RESIDUAL, REST, aliases_of, canonical, check_stems
from sep_protocol.codec import FormError, decode
from sep_protocol.errors import ModelError

__all__ = [
    "DRUMS",
    "RECORD",
    "RESIDUAL",
    "REST",
    "WEIGHTS",
    "Architecture",
    "Manifest",
    "Scheme",
    "Source",
    "aliases_of",
    "canonical",
    "catalogue",
    "find",
    "folder_of",
    "golden_clip",
    "installed",
    "of_file",
    "of_folder",
]

WEIGHTS = "weights.safetensors"  # the name of a model's file, once it is installed
RECORD = "model.json"  # beside the weights of a user's own model: its manifest
RECORD_BYTES = 1 << 20
# Beyond what any model has; settings that say more are damaged or hostile.
SAMPLE_RATES = (4000, 768_000)
LONGEST_CHUNK = 1 << 23  # samples: three minutes at 44.1 kHz

Architecture = Literal[
    "mdx23c", "larsnet", "bs-roformer", "mel-band-roformer", "htdemucs", "hdemucs", "scnet"
]
Scheme = Literal["sep", "msst", "msst-demucs", "demucs"]  # see the runtime's streams/schemes.py

_ROOT = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file as its author published it."""

    file: str
    sha256: str
    bytes: int | None = None
    urls: tuple[str, ...] = ()
    stem: str | None = None  # for models with one network per stem
    tail: str | None = None  # MD5 of the last 10,240,000 bytes, by which UVR and its heirs know it
    tried: str | None = None  # the day on which its addresses last gave this file; None: never


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything the code knows about a model; see its card for the rest."""

    name: str
    summary: str
    expects: Literal["drums", "a whole song"]
    stems: tuple[str, ...]  # in the order of the network's outputs
    rest: bool = False  # whether the last stem is none of them, but the mix minus the others
    architecture: Architecture
    sample_rate: int  # Hz
    chunk: int  # samples given to the network at once; it changes the output, so it is pinned
    overlap: float = 2.0  # chunk / hop
    scheme: Scheme = "sep"  # how chunks are cut, completed and joined: whose tool it was made for
    rank: int  # of those that are here and expect drums, the highest is the default
    licence: str  # as its author states it
    licence_source: str = "not stated"  # where
    licence_date: str = "not stated"  # when that was read there
    aliases: tuple[str, ...] = ()
    bundled: bool = False
    normalize: bool = False  # the mix is brought to mean 0, deviation 1 and back
    sha256: str | None = None  # of the weights, if they are bundled or a user's own
    imported: str | None = None  # the day on which a user gave it its name; None: it is ours
    network: dict[str, bool | int | float | str | tuple[int, ...] | tuple[float, ...]] = field(
        default_factory=dict
    )
    sources: tuple[Source, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)  # SDR by stem, dB
    scored: str = ""  # by whom, on what

    def __post_init__(self) -> None:
        """Raise ValueError where a stem's name is no file name, or a number is beyond reason.

        Manifests come from settings of strangers, too, and stems become files.
        """
        check_stems(self.stems)
        least, most = SAMPLE_RATES
        if not least <= self.sample_rate <= most:
            raise ValueError(f"the sample rate must be {least} to {most} Hz")
        if not 1 <= self.chunk <= LONGEST_CHUNK:
            raise ValueError(f"a chunk must have 1 to {LONGEST_CHUNK} samples")
        if not 1 <= self.overlap <= self.chunk:
            raise ValueError("the overlap must be at least 1, and no more than the chunk")
        if self.rest and len(self.stems) == 1:
            raise ValueError("a model's only stem cannot be what its others leave")

    @property
    def outputs(self) -> tuple[str, ...]:
        """The stems that the network gives."""
        return self.stems[:-1] if self.rest else self.stems


def folder_of(name: str) -> Path:
    """Return the folder in this package with the model's manifest and bundled weights."""
    return _ROOT / name.replace("-", "_")


def installed(name: str, fetched: Path) -> Path | None:
    """Return the folder with a model's weights, below `fetched` or here, None if there is none."""
    for each in (fetched / name, folder_of(name)):
        if os.path.isfile(each / WEIGHTS):  # noqa: PTH113 (raises nowhere)
            return each
    return None


def golden_clip() -> Path:
    """Return the short drum clip that proves an installation."""
    return _ROOT / "golden.flac"


@cache
def catalogue() -> tuple[Manifest, ...]:
    """Return every manifest, the best ranked first."""
    found = [_read(path) for path in _ROOT.glob("*/model.toml")]
    return tuple(sorted(found, key=lambda each: (-each.rank, each.name)))


def find(name: str) -> Manifest:
    """Return the manifest of that name or alias; raise ModelError where there is none."""
    for manifest in catalogue():
        if name in (manifest.name, *manifest.aliases):
            return manifest
    known = ", ".join(each.name for each in catalogue())
    raise ModelError(f"there is no model called {name!r}", hint=f"one of: {known}")


def of_file(sha256: str) -> Manifest | None:
    """Return the model whose only published file has this hash."""
    for manifest in catalogue():
        if [source.sha256 for source in manifest.sources] == [sha256]:
            return manifest
    return None


def of_folder(folder: Path) -> Manifest:
    """Return the manifest of a user's own model, which lies beside its weights as `model.json`.

    Raises ModelError where there is none, or none that can be read.
    """
    path = folder / RECORD
    try:
        with path.open("rb") as file:
            return decode(Manifest, json.loads(file.read(RECORD_BYTES)))
    except (OSError, ValueError, RecursionError) as fault:
        why = fault.strerror if isinstance(fault, OSError) else fault
        raise ModelError(
            f"what is known of the model in {{path}} cannot be read: {why}",
            hint="import its checkpoint again",
            command="sep models import FILE --overwrite",
            path=str(folder),
        ) from fault


def _read(path: Path) -> Manifest:
    try:
        with path.open("rb") as file:
            return decode(Manifest, tomllib.load(file))
    except (OSError, tomllib.TOMLDecodeError, FormError) as fault:
        message = f"the manifest of {path.parent.name} cannot be read: {fault}"
        raise ModelError(message, hint="reinstall sep-audio") from fault
