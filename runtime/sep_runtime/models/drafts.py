"""What settings of every family have in common: stems, chunks, and agreement with the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sep_models import Manifest, canonical
from sep_protocol.codec import decode
from sep_runtime.nets.hdemucs import HDemucsShape
from sep_runtime.nets.htdemucs import HTDemucsShape
from sep_runtime.nets.roformer import RoformerShape
from sep_runtime.nets.scnet import ScnetShape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sep_models import Architecture, Scheme
    from sep_runtime.models.identity import Identity
    from sep_runtime.models.tables import Table

    Network = dict[str, bool | int | float | str | tuple[int, ...] | tuple[float, ...]]

SHAPES: dict[Architecture, type] = {
    "bs-roformer": RoformerShape,
    "mel-band-roformer": RoformerShape,
    "htdemucs": HTDemucsShape,
    "hdemucs": HDemucsShape,
    "scnet": ScnetShape,
}
KIT = frozenset(("kick", "snare", "toms", "hihat", "cymbals", "ride", "crash"))
_OPPOSITES = {"vocals": "instrumental", "instrumental": "vocals"}
STEREO = 2  # channels
PAIR = 2  # instruments


class DisagreementError(ValueError):
    """Settings say other facts of the network than the file has."""

    def __init__(self, said: Mapping[str, object], found: Mapping[str, object]) -> None:
        super().__init__()
        self.said = said
        self.found = found


def agree(identity: Identity, said: Mapping[str, object]) -> None:
    """Raise DisagreementError where the file tells other facts; None says nothing."""
    other = [
        name
        for name, value in said.items()
        if value is not None and name in identity.facts and value != identity.facts[name]
    ]
    if other:
        raise DisagreementError(
            {name: said[name] for name in other}, {name: identity.facts[name] for name in other}
        )


def stems_of(names: Sequence[str], target: str, outputs: int) -> tuple[tuple[str, ...], bool]:
    """Return the stems, and whether the last is what the others leave of the mix.

    A network with one output gives the target, or the only name there is; one with an output for
    every name gives all of them, whatever the target. No outputs: the target decides. Raises
    ValueError where nothing fits.
    """
    named = tuple(map(canonical, names))
    count = outputs or (1 if target else len(named))
    if count > 1 and count == len(named):
        return named, False
    one = canonical(target) if target else named[0] if len(named) == 1 else ""
    if count == 1 and one:
        return (one, _rest(one, named)), True
    if not count:
        return named, False  # which has an error of its own
    gives = "one stem" if count == 1 else f"{count} stems"
    many = "one instrument" if len(named) == 1 else f"{len(named)} instruments"
    without = " and no target_instrument" if count == 1 else ""
    raise ValueError(f"the network gives {gives}, and they name {many}{without}")


def _rest(stem: str, named: Sequence[str]) -> str:
    """Return what to call the mix without a stem."""
    others = [each for each in named if each != stem]
    if len(named) == PAIR and len(others) == 1 and others[0] != "other":
        return others[0]
    return _OPPOSITES.get(stem, f"no_{stem}")


def manifest(
    name: str,
    architecture: Architecture,
    network: Network,
    *,
    stems: tuple[tuple[str, ...], bool],
    sample_rate: int,
    chunk: int,
    overlap: float,
    scheme: Scheme,
    normalize: bool,
) -> Manifest:
    """Return the manifest of a checkpoint of a stranger; raise ValueError beyond its limits."""
    channels = network.get("audio_channels", STEREO)
    if channels != STEREO:
        many = "one channel" if channels == 1 else f"{channels} channels"
        raise ValueError(f"the network is for {many}, sep runs stereo alone")
    names, rest = stems
    if architecture in SHAPES:  # what a network cannot be made of is wrong in the settings
        decode(SHAPES[architecture], {**network, "stems": len(names) - rest})
    return Manifest(
        name=name,
        summary=f"a checkpoint of yours, {name}",
        expects="drums" if KIT & set(names) else "a whole song",
        stems=names,
        rest=rest,
        architecture=architecture,
        sample_rate=sample_rate,
        chunk=chunk,
        overlap=overlap,
        scheme=scheme,
        rank=0,
        licence="not known",
        normalize=normalize,
        network=network,
    )


def of_msst(
    root: Table,
    name: str,
    identity: Identity,
    network: Network,
    *,
    overlap: int,
    names: tuple[str, ...] = (),
) -> Manifest:
    """Return the manifest for MSST's own way to cut a song; raise ValueError."""
    if identity.architecture is None:
        raise AssertionError(identity)
    audio, training = root.table("audio", optional=True), root.table("training", optional=True)
    inference = root.table("inference", optional=True)
    if "instruments" in training.values or not names:
        names = training.texts("instruments")
    return manifest(
        name,
        identity.architecture,
        network,
        stems=stems_of(names, training.text("target_instrument"), identity.count("stems")),
        sample_rate=audio.whole("sample_rate", 44100),
        chunk=inference.whole("chunk_size", 0) or audio.whole("chunk_size"),
        overlap=inference.whole("num_overlap", overlap),
        scheme="msst",
        normalize=inference.flag("normalize"),
    )
