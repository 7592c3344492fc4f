"""SCNet (Tong, Zhu, Chen, Kang, Li, Zhang, Lu: SCNet: sparse compression network for music source
separation, 2024), with the variants of its heirs.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ScnetShape:
    """Everything that fixes the network, by the names of its authors' options."""

    stems: int
    audio_channels: int = 2
    dims: tuple[int, ...] = (4, 32, 64, 128)
    nfft: int = 4096
    hop_size: int = 1024
    win_size: int = 4096
    normalized: bool = True
    band_SR: tuple[float, ...] = (0.175, 0.392, 0.433)  # noqa: N815 (their name)
    band_stride: tuple[int, ...] = (1, 4, 16)
    band_kernel: tuple[int, ...] = (3, 4, 16)
    conv_depths: tuple[int, ...] = (3, 2, 1)
    compress: int = 4
    conv_kernel: int = 3
    num_dplayer: int = 6
    expand: int = 1
    masked: bool = False  # a mask over the mix in place of a spectrum, and a Hann window
    whiten: bool = False  # spectra are brought to mean 0, deviation 1 and back, as at its authors'
    tran_heads: int = 0  # transformers in place of LSTMs where it is not 0
    tran_dim_head: int = 64
    tran_depth: int = 1
    tran_rotary_embedding_dim: int = 64
