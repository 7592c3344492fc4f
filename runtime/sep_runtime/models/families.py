"""Networks that sep does not run, and settings of one network beside weights of another: in words.

The words for it are better than the first key that is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sep_protocol.errors import ModelError
from sep_runtime.models import kinds
from sep_runtime.models.identity import CALLED, headline

if TYPE_CHECKING:
    from sep_models import Architecture
    from sep_runtime.models.identity import Identity

RUN = "MDX23C, BS-Roformer, Mel-Band Roformer, HTDemucs, HDemucs and SCNet"
PUBLISHED = "give the settings that were published with this checkpoint"
LEAVE_OUT = "a package of demucs needs no settings: leave them out"
ANOTHER = "choose another checkpoint, or a model that sep knows"
HINT = "choose a model that sep knows, or a checkpoint of one of these networks"

_PACKAGES = {"demucs": "an old Demucs", "openunmix": "an Open-Unmix"}  # of pickled networks


@dataclass(frozen=True, slots=True)
class Family:
    """Whose settings a document holds."""

    called: str
    architectures: tuple[Architecture, ...] = ()  # that they may be for


def _one(architecture: Architecture) -> Family:
    return Family(CALLED[architecture], (architecture,))


_ROFORMERS: tuple[Architecture, ...] = ("bs-roformer", "mel-band-roformer")
# Keys of the settings, with those of their table `model`; the first that are all there decide.
_SETTINGS: tuple[tuple[Family, tuple[str, ...]], ...] = (
    (Family("a Conformer"), ("freq_conformer_depth",)),
    (_one("mel-band-roformer"), ("num_bands", "dim", "depth")),
    (_one("bs-roformer"), ("freqs_per_bands", "dim", "depth")),
    (Family("a Roformer", _ROFORMERS), ("freq_transformer_depth",)),
    (Family("a Roformer", _ROFORMERS), ("dim", "depth", "stft_hop_length")),
    (_one("scnet"), ("band_SR",)),
    (_one("scnet"), ("num_dplayer",)),
    (Family("an unofficial SCNet"), ("bandsplit_ratios",)),
    (Family("a BandIt network"), ("band_specs",)),
    (Family("a BandIt network"), ("cls", "kwargs")),
    (Family("an Apollo"), ("feature_dim", "layer")),
    (Family("a network of segmentation models"), ("encoder_name",)),
    (Family("a network of segmentation models"), ("decoder_type",)),
    (Family("a bag of Demucs models"), ("models", "segment")),
    (Family("a bag of Demucs models"), ("models", "weights")),
    (Family("a VR network"), ("bins", "band")),
    (Family("an MDX-Net"), ("mdx_dim_f_set",)),
    (_one("mdx23c"), ("num_blocks_per_scale",)),
    (_one("mdx23c"), ("bottleneck_factor",)),
)
_NAMED = {  # what `model` is where it is a name
    "htdemucs": _one("htdemucs"),
    "hdemucs": _one("hdemucs"),
    "demucs": Family("a Demucs of the waveform alone"),
}


def of_settings(raw: object) -> Family | None:
    """Return whose settings a document holds, None where that is not known."""
    if not isinstance(raw, dict):
        return None
    model = raw.get("model")
    if isinstance(model, str):
        return _NAMED.get(model, Family("a network that sep does not know"))
    seen = {*raw, *(model if isinstance(model, dict) else ())}
    return next((each for each, marks in _SETTINGS if all(mark in seen for mark in marks)), None)


def said_by(raw: object) -> dict[str, object]:
    """Return those facts of a document that people know a network by."""
    model = raw.get("model") if isinstance(raw, dict) else None
    table = raw.get(model) if isinstance(raw, dict) and isinstance(model, str) else model
    found: dict[str, object] = {}
    for key in ("dim", "depth", "channels", "dims"):
        value = table.get(key) if isinstance(table, dict) else None
        if type(value) is int:
            found[key] = value
        elif isinstance(value, list) and all(type(each) is int for each in value):
            found[key] = tuple(value)
    return found


def of_global(name: str) -> str:
    """Return which network is meant by a class that a checkpoint wants, nothing for any other."""
    return _PACKAGES.get(name.partition(".")[0], "")


def error(what: str, family: str, path: str | None = None) -> ModelError:
    """Return the error for `what`, which is of another network."""
    return not_run(f"{what} {family}", path)


def not_run(what: str, path: str | None = None) -> ModelError:
    """Return the error for what is no checkpoint that sep runs."""
    return ModelError(
        f"{what}: of the checkpoints of others sep runs {RUN}",
        HINT,
        path,
        command="sep models list shows what sep knows; a checkpoint of these goes to --model",
    )


def refusal(identity: Identity, path: str) -> ModelError:
    """Return the error for a file of a network that sep does not run."""
    what = f"{{path}} is {identity.called}"
    if not identity.whole:
        return ModelError(f"{what}, but no whole one: {identity.why}", kinds.AGAIN, path)
    if not identity.why:
        return not_run(what, path)
    return ModelError(
        f"{what}, which sep does not run: {identity.why}", identity.hint or ANOTHER, path
    )


def quantised(path: str) -> ModelError:
    """Return the error for a demucs package whose weights diffq has packed."""
    return ModelError(
        "{path} is a quantised Demucs: diffq has packed its weights, and sep does not unpack them",
        "get the same model unquantised (mdx for mdx_q, mdx_extra for mdx_extra_q)",
        path,
    )


def other_settings(
    family: Family, raw: object, identity: Identity, file: str, path: str
) -> ModelError:
    """Return the error for settings that are not those of the network in the file."""
    architecture = family.architectures[0] if family.architectures else ""
    told = headline(architecture, said_by(raw))
    called = f"{family.called} ({told})" if told else family.called
    return ModelError(
        f"the settings {{path}} are those of {called}, but {file} is {identity.sentence}",
        LEAVE_OUT if "bag" in family.called else PUBLISHED,
        path,
    )
