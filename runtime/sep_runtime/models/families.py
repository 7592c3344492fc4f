"""Networks that sep does not run, known by what their settings and their weights look like.

It is asked where those do not fit: the words for it are better than the first key that is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sep_protocol.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sep_runtime.models.states import State

# Keys of the settings, with those of their table `model`; the first that are all there decide.
_SETTINGS = (
    ("a Conformer", ("freq_conformer_depth",)),
    ("a Mel-Band Roformer", ("num_bands", "dim", "depth")),
    ("a BS Roformer", ("freqs_per_bands", "dim", "depth")),
    ("a Roformer", ("freq_transformer_depth",)),
    ("an SCNet", ("band_SR",)),
    ("an SCNet", ("bandsplit_ratios",)),
    ("a BandIt network", ("band_specs",)),
    ("a BandIt network", ("cls", "kwargs")),
    ("an Apollo", ("feature_dim", "layer")),
    ("a network of segmentation models", ("encoder_name",)),
    ("a network of segmentation models", ("decoder_type",)),
    ("a Demucs", ("htdemucs",)),
    ("a Demucs", ("hdemucs",)),
    ("a Demucs", ("demucs",)),
    ("a Demucs", ("models", "segment")),
    ("a Demucs", ("models", "weights")),
    ("a VR network", ("bins", "band")),
    ("an MDX-Net", ("mdx_dim_f_set",)),
)
# Parts of the names of weights.
_WEIGHTS = (
    ("a Roformer", ("band_split.to_features.", "mask_estimators.", ".to_qkv.")),
    ("an SCNet", ("separation_net.dp_modules.",)),
    ("an SCNet", ("sd_blocks.", "dualpath_blocks.")),
    ("a Demucs", ("tencoder.0.", "tdecoder.0.")),
    ("a Demucs", ("encoder.0.0.weight", "decoder.0.0.weight")),
    ("a BandIt network", ("band_split.norm_fc_modules.",)),
    ("a VR network", ("stg3_full_band_net.",)),
    ("an MDX-Net", ("ds_dense.", "us_dense.")),
    ("an Open-Unmix", ("input_mean", "output_scale", "lstm.weight_ih_l0")),
    ("one of LarsNet's networks", ("input_norm.running_mean", "enc6.conv.", "mask_layer.0.")),
)
_PACKAGES = {"demucs": "a Demucs", "openunmix": "an Open-Unmix"}  # of pickled networks


def of_settings(raw: object) -> str:
    """Return which network the settings are of, nothing where that is not known."""
    if not isinstance(raw, dict):
        return ""
    model = raw.get("model")
    return _first(_SETTINGS, {*raw, *(model if isinstance(model, dict) else ())})


def of_weights(found: Iterable[State]) -> str:
    """Return which network the weights are of, nothing where that is not known."""
    return _first(_WEIGHTS, "\n".join(key for state in found for key in state))


def of_global(name: str) -> str:
    """Return which network is meant by a class that a checkpoint wants, nothing for any other."""
    return _PACKAGES.get(name.partition(".")[0], "")


def error(what: str, family: str, path: str | None = None) -> ModelError:
    """Return the error for `what`, which is of another network."""
    return ModelError(
        f"{what} {family}: of the checkpoints of others sep runs MDX23C alone",
        hint="choose a model that sep knows, or a checkpoint of MDX23C",
        command="sep models list shows what sep knows; any checkpoint of MDX23C goes to --model",
        path=path,
    )


def _first(known: Sequence[tuple[str, tuple[str, ...]]], seen: set[object] | str) -> str:
    return next((name for name, marks in known if all(mark in seen for mark in marks)), "")
