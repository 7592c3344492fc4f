"""What HDemucs and HTDemucs have in common, as numbers, and the rules that these must keep."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# More than any network that is known has; settings beyond them are damaged or hostile.
LIMITS = {
    "stems": (1, 32),
    "audio_channels": (1, 8),
    "channels": (1, 1024),
    "growth": (1, 8),
    "nfft": (64, 1 << 16),
    "depth": (1, 12),
    "freq_emb": (0, 100),
    "emb_scale": (1e-3, 1e4),
    "kernel_size": (4, 64),
    "stride": (2, 32),
    "context": (0, 8),
    "context_enc": (0, 8),
    "norm_starts": (0, 64),
    "norm_groups": (1, 1024),
    "dconv_mode": (0, 3),
    "dconv_depth": (1, 8),
    "dconv_comp": (1, 1024),
}
WIDEST = 1 << 14  # channels of the deepest layer


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridShape:
    """What fixes both branches, of the spectrum and of the waveform, by their authors' names."""

    stems: int
    audio_channels: int = 2
    channels: int = 48  # of the outermost layer
    channels_time: int = 0  # of the time branch; 0: as channels
    growth: int = 2  # of the channels from layer to layer
    nfft: int = 4096
    depth: int = 6
    freq_emb: float = 0.2  # weight of the bins' embedding; 0: none
    emb_scale: float = 10.0
    kernel_size: int = 8
    stride: int = 4
    context: int = 1  # neighbours that a decoder's rewrite sees on each side
    context_enc: int = 0  # the same of an encoder's
    norm_starts: int = 4  # the first layer with norms
    norm_groups: int = 4
    dconv_mode: int = 1  # 1: in encoders, 2: in decoders, 3: in both
    dconv_depth: int = 2
    dconv_comp: int = 4

    def __post_init__(self) -> None:
        """Raise ValueError where a number is absurd or layers do not fit each other."""
        bounded(self, LIMITS)
        if self.channels_time not in {0, self.channels}:
            msg = f"channels_time must be 0 or as channels, {self.channels}: both branches meet"
            raise ValueError(msg)
        if self.stride % 2 or self.kernel_size != 2 * self.stride:
            msg = (
                f"kernel_size must be twice an even stride, not {self.kernel_size} of {self.stride}"
            )
            raise ValueError(msg)
        if self.nfft % 8:
            msg = f"nfft must be a multiple of 8, not {self.nfft}"
            raise ValueError(msg)
        widest = self.width(self.depth - 1)
        if widest > WIDEST:
            msg = f"channels {self.channels} and growth {self.growth} make {widest} channels"
            raise ValueError(msg)
        if self.dconv_mode and self.dconv_comp > self.channels:
            msg = f"dconv_comp {self.dconv_comp} leaves nothing of {self.channels} channels"
            raise ValueError(msg)
        normed = [self.width(i) for i in range(self.norm_starts, self.depth)]
        normed += [self.width(i - 1) for i in range(max(1, self.norm_starts), self.depth)]
        if not self.norm_starts:
            normed.append(self.stems * self.audio_channels)
        if any(width % self.norm_groups for width in normed):
            msg = f"norm_groups {self.norm_groups} does not divide the channels of every layer"
            raise ValueError(msg)

    def width(self, layer: int) -> int:
        """Return the channels of a layer, counted from the outermost, 0."""
        return self.channels * int(self.growth**layer)

    def bins(self, layer: int) -> int:
        """Return the bins that a layer of the frequency branch gets."""
        return self.nfft // 2 // int(self.stride**layer)

    @property
    def hop(self) -> int:
        """Samples between frames of the spectrum."""
        return self.nfft // 4


def bounded(shape: object, limits: Mapping[str, tuple[float, float]]) -> None:
    """Raise ValueError where one of a shape's numbers is not within its limits."""
    for name, (least, most) in limits.items():
        value = getattr(shape, name)
        if not (math.isfinite(value) and least <= value <= most):
            msg = f"{name} must be between {least} and {most}, not {value}"
            raise ValueError(msg)
