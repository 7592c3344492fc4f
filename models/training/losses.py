"""What training minimises."""

from __future__ import annotations

import torch
from torch import Tensor

# A stem quieter than this part of the mix's energy counts as this loud: it bounds the pull
# towards perfect silence and still makes leakage into silent stems dear.
FLOOR = 3e-4


def log_error(found: Tensor, stems: Tensor) -> Tensor:
    """[B, 5, 2, T] twice to [B, 5]: error to signal in dB, lower is better; at most 0 for zeros."""
    floor = FLOOR * stems.sum(1).square().sum((1, 2)).unsqueeze(1) + 1e-6
    error = (found - stems).square().sum((2, 3))
    power = stems.square().sum((2, 3))
    return 10 * torch.log10((error + 0.03 * floor) / (power + floor))


def spectral_error(found: Tensor, stems: Tensor) -> Tensor:
    """[B, 5, C, F, T] complex twice to []: difference of compressed magnitudes."""

    def compressed(spectrum: Tensor) -> Tensor:
        return torch.view_as_real(spectrum).square().sum(-1).add(1e-6).pow(0.25)

    reference = compressed(stems)
    scale = reference.sum(1).mean((1, 2, 3)).clamp_min(0.05)
    difference = (compressed(found) - reference).abs().mean((2, 3, 4)).sum(1)
    return (difference / scale).mean()
