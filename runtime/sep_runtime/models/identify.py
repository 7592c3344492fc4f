"""What a state dict is, and what it tells of its network, from its keys and shapes alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sep_runtime.models import identify_demucs, identify_roformer
from sep_runtime.models.adopt import prefixes
from sep_runtime.models.identity import CALLED, Identity
from sep_runtime.models.keys import Keys, MissingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sep_runtime.models.identity import Fact
    from sep_runtime.models.states import State

# Facts that come from two shapes.
_QUOTIENTS = (
    *("stems", "mlp_factor", "growth", "dconv_comp", "time_stride", "compress", "expand"),
    *("tran_dim_head", "subbands", "audio_channels"),
)
_LORA = re.compile(r"(^|\.)lora_[A-Za-z]|^base_model\.")


def of(found: Iterable[State]) -> Identity | None:
    """Return what the first state dict is that sep runs, else what the first is that is known.

    None where nothing is known of any.
    """
    return _best(
        each
        for state in found
        if (each := of_shapes({key: tuple(value.shape) for key, value in state.items()}))
    )


def of_shapes(shapes: Mapping[str, tuple[int, ...]]) -> Identity | None:
    """Return what a table of keys and shapes is, None where nothing is known of it."""
    if any(_LORA.search(key) for key in shapes):
        return Identity(
            called="a LoRA adapter",
            why="it changes another model's weights and is no model itself",
            hint="give the checkpoint that it was merged into",
        )
    if found := _best(
        _told(shapes, prefix, called, tell)
        for anchor, called, tell in _ANCHORS
        for prefix in prefixes(shapes, anchor)
    ):
        return found
    everything = "\n".join(shapes)
    for identity, marks in _OTHERS:
        if all(mark in everything for mark in marks):
            return identity
    return None


def _best(found: Iterable[Identity]) -> Identity | None:
    """Return the first that sep runs, else the first, None where there is none."""
    first = None
    for each in found:
        if each.architecture is not None:
            return each
        first = first or each
    return first


def _told(
    shapes: Mapping[str, tuple[int, ...]],
    prefix: str,
    called: str,
    tell: Callable[[Keys], Identity],
) -> Identity:
    size = len(prefix)
    keys = Keys({k[size:]: each for k, each in shapes.items() if k.startswith(prefix)})
    try:
        return _checked(tell(keys))
    except MissingError as fault:
        return Identity(called=called, why=str(fault), whole=False)


def _checked(identity: Identity) -> Identity:
    """Return it; where a quotient of two shapes is 0, they have nothing to do with each other."""
    if all(identity.count(name) > 0 for name in _QUOTIENTS if name in identity.facts):
        return identity
    return Identity(
        called=identity.called, why="the shapes of its weights do not belong together", whole=False
    )


def _scnet(keys: Keys) -> Identity:
    blocks = keys.count("encoder.")
    dims = (
        keys.size("encoder.0.SDlayer.convs.0.weight", 1),
        *(keys.size(f"encoder.{i}.globalconv.weight") for i in range(blocks)),
    )
    inside = f"encoder.{blocks - 1}.conv_modules.0.layers.0."
    bands = range(keys.count("encoder.0.SDlayer.convs."))
    facts: dict[str, Fact] = {
        "dims": dims,
        "stems": keys.size(f"decoder.{blocks - 1}.1.convtrs.0.weight", 1) // dims[0],
        "audio_channels": dims[0] // 2,
        "band_kernel": tuple(keys.size(f"encoder.0.SDlayer.convs.{b}.weight", 2) for b in bands),
        "conv_depths": tuple(keys.count(f"encoder.0.conv_modules.{b}.layers.") for b in bands),
        "compress": dims[-1] // keys.size(f"{inside}6.weight", 1),
        "conv_kernel": keys.size(f"{inside}1.weight", 2),
        "num_dplayer": keys.count("separation_net.dp_modules."),
        "masked": "pos_embed_f" in keys,
        "tran_heads": 0,
    }
    if facts["masked"]:
        facts["nfft"] = 2 * (keys.size("pos_embed_f", 2) - 1)
    layer = "separation_net.dp_modules.0."
    attention = f"{layer}time_layer.layers.0.0."
    if f"{attention}to_qkv.weight" in keys:
        heads = keys.size(f"{attention}to_gates.weight")
        facts |= {
            "tran_heads": heads,
            "tran_dim_head": keys.size(f"{attention}to_qkv.weight") // 3 // heads,
            "tran_depth": keys.count(f"{layer}time_layer.layers."),
            "tran_rotary_embedding_dim": 2 * keys.size(f"{attention}rotary_embed.freqs"),
        }
    else:
        facts["expand"] = keys.size(f"{layer}lstm_layers.0.weight_hh_l0", 1) // dims[-1]
    return Identity(called=CALLED["scnet"], architecture="scnet", facts=facts)


def _mdx23c(keys: Keys) -> Identity:
    spectral = keys.size("first_conv.weight", 1)  # of 2 channels, complex, in sub-bands
    block = "encoder_blocks.0.tfc_tdf.blocks."
    wide = keys.size("encoder_blocks.0.downscale.conv.2.weight")
    facts: dict[str, Fact] = {
        "channels": keys.size("first_conv.weight"),
        "scales": keys.count("encoder_blocks."),
        "stems": keys.size("final_conv.2.weight") // spectral,
        "blocks": keys.count(block),
        "growth": wide - keys.size("encoder_blocks.0.downscale.conv.2.weight", 1),
        "subbands": spectral // 4,
        "dim_f": keys.size(f"{block}0.tdf.2.weight", 1) * (spectral // 4),
    }
    return Identity(called=CALLED["mdx23c"], architecture="mdx23c", facts=facts)


# (a key that the network has, what it is called where others are missing, what tells the rest)
_ANCHORS: tuple[tuple[str, str, Callable[[Keys], Identity]], ...] = (
    ("band_split.to_features.0.0.gamma", "a Roformer", identify_roformer.of),
    ("tencoder.0.conv.weight", "a hybrid Demucs", identify_demucs.of),
    ("time_encoder.0.conv.weight", "torchaudio's HDemucs", identify_demucs.of_torchaudio),
    ("encoder.0.SDlayer.convs.0.weight", "an SCNet", _scnet),
    ("encoder_blocks.0.tfc_tdf.blocks.0.tfc1.2.weight", "an MDX23C", _mdx23c),
)
_PARTS = "parts that it must have are missing"
# Networks that are known by parts of keys alone, because sep does not run them.
_OTHERS = (
    (
        Identity(called="an unofficial SCNet", why="it is another network than its authors' SCNet"),
        ("sd_blocks.", "dualpath_blocks."),
    ),
    (
        Identity(
            called="one of LarsNet's networks",
            why="all five are needed",
            hint="fetch LarsNet as a model of the catalogue",
        ),
        ("input_norm.running_mean", "enc6.conv.", "mask_layer.0."),
    ),
    (Identity(called="a BandIt network"), ("band_split.norm_fc_modules.",)),
    (Identity(called="an Apollo"), (".band_net.", ".seq_net.")),
    (Identity(called="a VR network"), ("stg3_full_band_net.",)),
    (Identity(called="an MDX-Net"), ("ds_dense.", "us_dense.")),
    (Identity(called="an Open-Unmix"), ("input_mean", "output_scale", "lstm.weight_ih_l0")),
    (
        Identity(called="a Demucs of the waveform alone (version 1 to 3)"),
        ("encoder.0.0.weight", "decoder.0.0.weight"),
    ),
    (
        Identity(called="a Demucs of the spectrogram alone"),
        ("encoder.0.conv.weight", "decoder.0.conv_tr.weight", ".dconv.layers."),
    ),
    (
        Identity(called="a Roformer", why=_PARTS, whole=False),
        ("band_split.to_features.", "mask_estimators.", ".to_qkv."),
    ),
    (Identity(called="an SCNet", why=_PARTS, whole=False), ("separation_net.dp_modules.",)),
)
