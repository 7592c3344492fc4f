"""Which of the Roformers with split bands a table of keys is, and what it tells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sep_runtime.models.adopt import IDLE
from sep_runtime.models.identity import CALLED, Identity
from sep_runtime.models.words import shown

if TYPE_CHECKING:
    from sep_models import Architecture
    from sep_runtime.models.identity import Fact
    from sep_runtime.models.keys import Keys

_MASK = r"mask_estimators\.\d+\.to_freqs\.\d+\.0\.\d*[02468]\.(weight|bias)"  # linear layers
_KNOWN = re.compile(
    r"band_split\.to_features\.\d+\.(0\.gamma|1\.(weight|bias))"
    r"|layers\.\d+\.\d+\.layers\.\d+\.0\.(rotary_embed\.freqs|pope_embed\.(bias|inv_freqs)"
    r"|norm\.gamma|to_qkv\.(weight|bias)|to_gates\.(weight|bias)|to_out\.0\.(weight|bias)"
    r"|temperature|to_qkv\.0\.weight|to_out\.1\.weight)"
    r"|layers\.\d+\.\d+\.layers\.\d+\.1\.net\.(0\.gamma|[14]\.(weight|bias))"
    r"|layers\.\d+\.\d+\.norm\.gamma|final_norm\.gamma|linear_62_bias_0|linear_64_bias_0"
    rf"|{_MASK}"
)
# (what is in a key of theirs, the variant)
_VARIANTS = (
    (r"\.(ff1|ff2|conv)\.|\.out_norm\.", Identity(called="a Conformer of split bands")),
    (
        r"to_value_residual_mix",
        Identity(
            called="a Roformer with value residuals",
            why="two networks have these keys, and the file does not tell which it was trained as",
        ),
    ),
    (
        r"\.branch\.|\.static_alpha|\.static_beta|\.dynamic_alpha_fn",
        Identity(called="a Roformer with hyper-connections"),
    ),
    (r"^mask_estimators\..*\bsegm\.", Identity(called="a Roformer with HyperACE masks")),
    (
        r"^(cos|sin)_emb_|\.(cos|sin)_emb_|shared_(qkv|out)_bias",
        Identity(
            called="the first conversion of BS-Roformer SW",
            why="its tables are for one length of chunk alone",
            hint="get the conversion of it that is called Fixed",
        ),
    ),
    (
        rf"^(?!{_MASK}$)mask_estimators\.\d+\.to_freqs\.",
        Identity(called="a Roformer with masks from Fourier neural operators"),
    ),
)


def of(keys: Keys) -> Identity:
    """Return which it is, with the facts that it tells; raise MissingError."""
    for pattern, variant in _VARIANTS:
        if keys.has(pattern):
            return variant
    mel, final = "layers.0.0.norm.gamma" in keys, "final_norm.gamma" in keys
    if mel == final:
        return Identity(
            called="a Roformer of an unknown kind",
            why="it has the last norms of both kinds" if mel else "it has no last norm",
        )
    architecture: Architecture = "mel-band-roformer" if mel else "bs-roformer"
    called = CALLED[architecture]
    for key in keys.shapes:
        if not _KNOWN.fullmatch(key) and key.rpartition(".")[2] not in IDLE:
            return Identity(called=f"a variant of {called}", why=f"{shown(key)} is not known")
    facts = _facts(keys)
    if mel:
        facts["mel_bands"] = keys.count("band_split.to_features.")
    return Identity(called=called, architecture=architecture, facts=facts)


def _facts(keys: Keys) -> dict[str, Fact]:
    linear = keys.has(r"^layers\.0\.0\.layers\.0\.0\.temperature$")
    time, freq = (f"layers.0.{index + linear}.layers." for index in (0, 1))
    position = f"{time}0.0.pope_embed.inv_freqs"
    pope = position in keys
    dim = keys.size("band_split.to_features.0.1.weight")
    bands = range(keys.count("band_split.to_features."))
    mask = "mask_estimators.0.to_freqs.0.0."
    facts: dict[str, Fact] = {
        "dim": dim,
        "depth": keys.count("layers."),
        "stems": keys.count("mask_estimators."),
        "widths": tuple(keys.size(f"band_split.to_features.{b}.0.gamma") for b in bands),
        "heads": keys.size(f"{time}0.0.to_gates.weight"),
        "dim_head": keys.size(position) if pope else 2 * keys.size(f"{time}0.0.rotary_embed.freqs"),
        "linear_depth": keys.count("layers.0.0.layers.") if linear else 0,
        "time_depth": keys.count(time),
        "freq_depth": keys.count(freq),
        "mask_layers": keys.count(mask),
        "pope": pope,
        "shared_bias": "linear_62_bias_0" in keys,
    }
    if keys.count(mask) > 1:
        facts["mlp_factor"] = keys.size(f"{mask}0.weight") // dim
    return facts
