"""Which hybrid Demucs a table of keys is, and what it tells."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from sep_runtime.models.identity import CALLED, Identity
from sep_runtime.models.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sep_models import Architecture
    from sep_runtime.models.identity import Fact

_TORCHAUDIO = re.compile(r"(?:^|(?<=\.))(freq_|time_)(?=(?:en|de)coder\.)")


def of(keys: Keys) -> Identity:
    """Return which it is, with the facts that it tells; raise MissingError."""
    transformer = keys.has(r"^crosstransformer\.")
    architecture: Architecture = "htdemucs" if transformer else "hdemucs"
    called = CALLED[architecture]
    if keys.has(r"^(en|de)coder\.\d+\.layers\."):
        return Identity(called=f"{called} that treats bands apart (multi_freqs)")
    channels = keys.size("tencoder.0.conv.weight", 1)
    inputs = keys.size("encoder.0.conv.weight", 1)
    if inputs != 2 * channels:
        what = "magnitudes (cac is false)" if inputs < 2 * channels else "sub-bands"
        return Identity(called=f"{called} on {what}", why="sep runs those on whole complex spectra")
    facts = _facts(keys, channels)
    facts |= _of_transformer(keys) if transformer else _of_lstm(keys)
    return Identity(called=called, architecture=architecture, facts=facts)


def of_torchaudio(keys: Keys) -> Identity:
    """Return the same for the keys of torchaudio's HDemucs; raise MissingError."""
    names = demucs_names(keys.shapes)
    found = of(Keys({new: keys.shapes[old] for old, new in names.items()}))
    return replace(found, called="torchaudio's HDemucs", torchaudio=True)


def demucs_names(keys: Iterable[str]) -> dict[str, str]:
    """Return which key of demucs' HDemucs each key of torchaudio's is, whatever prefix they have.

    One norm, of the layer that is nothing but its convolution, is never used there and left out.
    """
    keys = tuple(keys)
    whole = {key.removesuffix("rewrite.weight") for key in keys if key.endswith("rewrite.weight")}
    return {
        key: _TORCHAUDIO.sub(lambda found: "t" if found[1] == "time_" else "", key)
        for key in keys
        if "time_encoder." not in key or ".norm1." not in key or key[: key.index("norm1.")] in whole
    }


def _facts(keys: Keys, channels: int) -> dict[str, Fact]:
    depth = keys.count("encoder.")
    width = keys.size("encoder.0.conv.weight")
    time = keys.size("tencoder.0.conv.weight")
    normed = [i for i in range(depth) if f"encoder.{i}.norm1.weight" in keys]
    inner = keys.has(r"^encoder\.\d+\.dconv\.")
    outer = keys.has(r"^decoder\.\d+\.dconv\.")
    facts: dict[str, Fact] = {
        "channels": width,
        "depth": depth,
        "stems": keys.size(f"tdecoder.{keys.count('tdecoder.') - 1}.conv_tr.weight", 1) // channels,
        "audio_channels": channels,
        "channels_time": 0 if time == width else time,
        "kernel_size": keys.size("encoder.0.conv.weight", 2),
        "context": keys.size(f"decoder.{depth - 1}.rewrite.weight", 2) // 2,
        "context_enc": keys.size("encoder.0.rewrite.weight", 2) // 2,
        "norm_starts": normed[0] if normed else depth,
        "dconv_mode": inner + 2 * outer,
    }
    if depth > 1:
        facts["growth"] = keys.size("encoder.1.conv.weight") // width
    if inner or outer:
        # Of the widest layer, where the whole part of a quotient is nearest to the quotient.
        inside = f"encoder.{depth - 1}.dconv.layers." if inner else "decoder.0.dconv.layers."
        narrow = keys.size(f"{inside}0.0.weight")
        facts["dconv_depth"] = keys.count(inside)
        facts["dconv_comp"] = keys.size(f"{inside}0.0.weight", 1) // narrow
    if "freq_emb.embedding.weight" in keys:
        facts["bins"] = keys.size("freq_emb.embedding.weight")
    else:
        facts["freq_emb"] = 0.0
    return facts


def _of_lstm(keys: Keys) -> dict[str, Fact]:
    depth = keys.count("encoder.")
    facts: dict[str, Fact] = {}
    for name, mark in (("dconv_lstm", "lstm.weight_ih_l0"), ("dconv_attn", "content.weight")):
        having = [i for i in range(depth) if keys.has(rf"^encoder\.{i}\.dconv\..*\.{mark}$")]
        facts[name] = having[0] if having else depth
    last = f"encoder.{depth - 1}.conv.weight"
    if keys.axes(last) == 3:  # noqa: PLR2004 (the axes of a layer after the branches have met)
        facts["time_stride"] = keys.size(last, 2) // 2
    return facts


def _of_transformer(keys: Keys) -> dict[str, Fact]:
    first = "crosstransformer.layers.0."
    upsampler = "channel_upsampler.weight"
    inner = keys.size(f"{first}linear1.weight")
    return {
        "bottom_channels": keys.size(upsampler) if upsampler in keys else 0,
        "t_layers": keys.count("crosstransformer.layers."),
        "t_hidden_scale": inner / keys.size(f"{first}linear1.weight", 1),
        "t_norm_in": "crosstransformer.norm_in.weight" in keys,
        "t_norm_out": f"{first}norm_out.weight" in keys,
        "t_layer_scale": f"{first}gamma_1.scale" in keys,
        "t_cross_first": f"{first}cross_attn.in_proj_weight" in keys,
    }
