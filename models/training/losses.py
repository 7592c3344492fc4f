"""What training minimises, and how fast."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Errors count down to this part of a stem's energy (25 dB SDR).
FINEST = 3e-3
# A stem this far below the mix is half heard, half silent (energies).
AUDIBLE = 1e-4
# In a silent stem, leakage counts from this part of the mix's energy on.
LEAK = 3e-3


def log_error(found: Tensor, stems: Tensor) -> Tensor:
    """[B, 5, 2, T] twice to [B, 5] in dB: error to signal, or leakage where a stem is silent.

    A smaller floor under leakage would reward silence itself: softmax masks then shut the rare
    stems for good, as their gradient vanishes with them.
    """
    mix = stems.sum(1).square().sum((1, 2)).unsqueeze(1) + 1e-4
    error = (found - stems).square().sum((2, 3))
    power = stems.square().sum((2, 3))
    heard = power / (power + AUDIBLE * mix)
    floor = power + 1e-7 * mix
    active = 10 * torch.log10((error + FINEST * floor) / floor)
    silent = 10 * torch.log10((error + LEAK * mix) / (LEAK * mix))
    return heard * active + (1 - heard) * silent


def compressed(spectrum: Tensor) -> Tensor:
    """[...] complex to [...] real: the square root of the magnitude."""
    return torch.view_as_real(spectrum).square().sum(-1).add(1e-6).pow(0.25)


def spectral_error(masks: Tensor, mix: Tensor, stems: Tensor) -> Tensor:
    """[B, 5, C, F, T] masks, [B, C, F, T] and [B, 5, C, F, T] spectra to []: magnitudes' error."""
    found = (masks + 1e-6).sqrt() * compressed(mix).unsqueeze(1)
    reference = compressed(stems)
    scale = reference.sum(1).mean((1, 2, 3)).clamp_min(0.05)
    difference = (found - reference).abs().mean((2, 3, 4)).sum(1)
    return (difference / scale).mean()


def cross_entropy(masks: Tensor, mix: Tensor, stems: Tensor) -> Tensor:
    """Shapes as `spectral_error`, to []: masks against the shares of power, louder bins more.

    Its gradient by the logits is mask minus share, so it reopens a mask that has closed.
    """
    powers = torch.view_as_real(stems).square().sum(-1)
    shares = powers / (powers.sum(1, keepdim=True) + 1e-8)
    weight = compressed(mix)
    weight = weight / weight.mean((1, 2, 3), keepdim=True).clamp_min(0.05)
    entropy = -(shares * (masks + 1e-6).log()).sum(1)
    return (entropy * weight).mean()


def cosine(progress: float, warmup: float, floor: float = 0.005) -> float:
    """Return the learning rate's factor at a progress of 0..1."""
    if progress < warmup:
        return max(progress / warmup, 1e-3)
    done = min((progress - warmup) / (1 - warmup), 1.0)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))
