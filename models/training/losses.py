"""What training minimises, and how fast."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

# Errors count down to this part of a stem's energy (25 dB SDR).
FINEST = 3e-3
# A stem this far below the mix is half heard, half silent (energies).
AUDIBLE = 1e-4
# In a silent stem, leakage counts from this part of the mix's energy on: at first, and at last.
LEAKS = (3e-3, 1e-4)
# How much each stem's error counts: metal is quiet and hard, a kick is neither.
WEIGHTS = (0.8, 1.0, 1.0, 1.7, 1.3)
MOMENTS = 3.0
FALLING = (0.5, 0.9)  # parts of the budget between which it falls


def leak_floor(progress: float) -> float:
    """Return the floor under leakage at a progress of 0..1."""
    done = min(max((progress - FALLING[0]) / (FALLING[1] - FALLING[0]), 0.0), 1.0)
    return float(LEAKS[0] ** (1 - done) * LEAKS[1] ** done)


def log_error(found: Tensor, stems: Tensor, leak: Tensor) -> Tensor:
    """[B, 5, 2, ...] twice to [B, 5] in weighted dB: error to signal, or leakage in a silent stem.

    Of waveforms, or of spectra given as real and imaginary parts: their energies are in proportion.

    A low floor `leak` at first would reward silence itself: softmax masks then shut the rare
    stems for good, as their gradient vanishes with them.
    """
    mix = stems.sum(1).square().flatten(1).sum(1, keepdim=True) + 1e-4
    error = (found - stems).square().flatten(2).sum(2)
    power = stems.square().flatten(2).sum(2)
    heard = power / (power + AUDIBLE * mix)
    floor = power + 1e-7 * mix
    active = 10 * torch.log10((error + FINEST * floor) / floor)
    silent = 10 * torch.log10((error + leak * mix) / (leak * mix))
    both = heard * active + (1 - heard) * silent
    return torch.stack([both[:, i] * weight for i, weight in enumerate(WEIGHTS)], 1)


def compressed(spectrum: Tensor) -> Tensor:
    """[..., 2] real and imaginary parts to [...]: the square root of the magnitude."""
    return spectrum.square().sum(-1).add(1e-6).pow(0.25)


def spectral_error(masks: Tensor, mix: Tensor, stems: Tensor) -> Tensor:
    """[B, 5, C, F, T] masks, [B, C, F, T, 2] and [B, 5, C, F, T, 2] to []: magnitudes' error."""
    found = (masks + 1e-6).sqrt() * compressed(mix).unsqueeze(1)
    reference = compressed(stems)
    scale = reference.sum(1).mean((1, 2, 3)).clamp_min(0.05)
    difference = (found - reference).abs().mean((2, 3, 4)).sum(1)
    return (difference / scale).mean()


def multi_resolution(found: Tensor, stems: Tensor, windows: tuple[Tensor, ...]) -> Tensor:
    """[B, 5, 2, T] twice to []: the error of compressed magnitudes at other window lengths."""
    total = found.new_zeros(())
    for window in windows:
        size = len(window)

        def magnitudes(signal: Tensor, window: Tensor = window, size: int = size) -> Tensor:
            flat = signal.mean(2).flatten(0, 1)
            spectrum = torch.stft(flat, size, size // 2, window=window, return_complex=True)
            return compressed(torch.view_as_real(spectrum))

        with torch.no_grad():
            reference = magnitudes(stems)
        scale = reference.mean().clamp_min(0.01)
        total = total + (magnitudes(found) - reference).abs().mean() / scale
    return total / len(windows)


def cross_entropy(masks: Tensor, mix: Tensor, stems: Tensor) -> Tensor:
    """Shapes as `spectral_error`, to []: masks against the shares of power, louder bins more.

    Its gradient by the logits is mask minus share, so it reopens a mask that has closed.
    """
    powers = stems.square().sum(-1)
    shares = powers / (powers.sum(1, keepdim=True) + 1e-8)
    weight = compressed(mix)
    weight = weight / weight.mean((1, 2, 3), keepdim=True).clamp_min(0.05)
    entropy = -(shares * (masks + 1e-6).log()).sum(1)
    return (entropy * weight).mean()


def moments(masks: Tensor, mix: Tensor, stems: Tensor) -> Tensor:
    """Shapes as `spectral_error`, to []: the cross-entropy of stems' shares of whole moments.

    All bins of four frames together, so a hit under another name counts as a whole.
    """

    def shares(magnitudes: Tensor) -> tuple[Tensor, Tensor]:
        parts = functional.avg_pool1d(magnitudes.mean((2, 3)), 4, 2)  # [B, 5, T']
        whole = parts.sum(1, keepdim=True)
        return (parts + 1e-4) / (whole + 5e-4), whole.squeeze(1)

    found, _ = shares((masks + 1e-6).sqrt() * compressed(mix).unsqueeze(1))
    reference, weight = shares(compressed(stems))
    weight = weight / weight.mean(1, keepdim=True).clamp_min(0.05)
    return (-(reference * found.log()).sum(1) * weight).mean()


def shape_errors(masks: Tensor, mix: Tensor, stems: Tensor) -> Tensor:
    """Shapes as `spectral_error`, to []: magnitudes' error and cross-entropies."""
    bins = 5 * spectral_error(masks, mix, stems) + 5 * cross_entropy(masks, mix, stems)
    return bins + MOMENTS * moments(masks, mix, stems)


def spectral_loss(masks: Tensor, mix: Tensor, stems: Tensor, leak: Tensor) -> Tensor:
    """Shapes as `spectral_error`, to []: all that needs no waveform."""
    found = masks.unsqueeze(-1) * mix.unsqueeze(1)
    return log_error(found, stems, leak).mean() + shape_errors(masks, mix, stems)


def cosine(progress: float, warmup: float, floor: float = 0.005) -> float:
    """Return the learning rate's factor at a progress of 0..1."""
    if progress < warmup:
        return max(progress / warmup, 1e-3)
    done = min((progress - warmup) / (1 - warmup), 1.0)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))
