"""Hybrid Demucs (Défossez: Hybrid spectrogram and waveform source separation, 2021)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HDemucsShape:
    """Everything that fixes the network, by the names of its authors' options."""

    stems: int
    audio_channels: int = 2
    channels: int = 48
    channels_time: int = 0  # of the time branch; 0: as channels
    growth: int = 2
    nfft: int = 4096
    depth: int = 6
    freq_emb: float = 0.2
    emb_scale: float = 10.0
    kernel_size: int = 8
    stride: int = 4
    time_stride: int = 2
    context: int = 1
    context_enc: int = 0
    norm_starts: int = 4
    norm_groups: int = 4
    dconv_mode: int = 1
    dconv_depth: int = 2
    dconv_comp: int = 4
    dconv_attn: int = 4
    dconv_lstm: int = 4
    hybrid_old: bool = False
