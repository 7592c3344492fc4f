"""Band-split Roformers (Lu, Wang, Kong, Hung: Music source separation with band-split RoPE
transformer, 2023; Wang, Lu, Won: Mel-Band RoFormer for music source separation, 2023).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RoformerShape:
    """Everything that fixes the network; bands are a list of bins, or overlap by the mel scale."""

    stems: int
    audio_channels: int = 2
    dim: int
    depth: int
    bands: tuple[int, ...] = ()  # BS: bins of each, together n_fft / 2 + 1
    mel_bands: int = 0  # Mel-Band: how many
    sample_rate: int = 44100  # Hz, of the mel scale
    heads: int = 8
    dim_head: int = 64
    time_depth: int = 1
    freq_depth: int = 1
    linear_depth: int = 0  # of linear attention over all tokens
    n_fft: int = 2048
    hop: int
    win: int = 2048  # samples of the Hann window
    normalized: bool = False  # the STFT by n_fft ** -0.5
    mask_layers: int = 2  # linear layers of a mask's MLP
    mlp_factor: int = 4  # its width / dim
    zero_dc: bool = True  # bin 0 of the result is silent
    skip: bool = False  # every layer sees the sum of all before it
    pope: bool = False  # polar position embedding in place of the rotary one
    shared_bias: bool = False  # attention has biases, one pair for all layers
