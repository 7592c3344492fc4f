"""Hybrid Transformer Demucs (Rouard, Massa, Défossez: Hybrid transformers for music source
separation, 2023).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HTDemucsShape:
    """Everything that fixes the network, by the names of its authors' options."""

    stems: int
    audio_channels: int = 2
    channels: int = 48
    channels_time: int = 0  # of the time branch; 0: as channels
    growth: int = 2
    nfft: int = 4096
    depth: int = 4
    freq_emb: float = 0.2
    emb_scale: float = 10.0
    kernel_size: int = 8
    stride: int = 4
    context: int = 1
    context_enc: int = 0
    norm_starts: int = 4
    norm_groups: int = 4
    dconv_mode: int = 1
    dconv_depth: int = 2
    dconv_comp: int = 8
    bottom_channels: int = 0
    t_layers: int = 5
    t_heads: int = 8
    t_hidden_scale: float = 4.0
    t_norm_in: bool = True
    t_norm_out: bool = True
    t_max_period: float = 10000.0
    t_layer_scale: bool = True
    t_gelu: bool = True
    t_weight_pos_embed: float = 1.0
    t_cross_first: bool = False
    segment: int = 0  # samples that shorter inputs are padded to, and the most; 0: any length
