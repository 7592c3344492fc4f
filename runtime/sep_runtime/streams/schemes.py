"""How chunks are cut out of a mix, completed at its end and joined: ours, and those of other tools.

A checkpoint sounds as it did to those who trained it where its chunks are those of their tool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    import sep_models

FADE = 10  # of a chunk, the part at either end in which MSST fades
LEAST = 1e-6  # of a window's weight: where nothing else covers a sample, its chunk does


def hann(samples: int) -> Tensor:
    """[samples]: sin^2(pi (n + 1/2) / samples), the Hann window shifted off its zeros.

    Strictly positive, and its copies at half its length add up to 1.
    """
    n = torch.arange(samples, dtype=torch.float64)
    return torch.sin(torch.pi * (n + 0.5) / samples).square().to(torch.float32)


def faded(samples: int) -> Tensor:
    """[samples]: 1 with linear ramps over a tenth at both ends, positive everywhere."""
    window = torch.ones(samples)
    if fade := samples // FADE:
        ramp = torch.linspace(0, 1, fade).clamp_min(LEAST)
        window[:fade] = ramp
        window[-fade:] = torch.minimum(window[-fade:], ramp.flip(0))
    return window


def triangle(samples: int) -> Tensor:
    """[samples]: 1, 2 ... and down again to 1, over the greatest."""
    half = samples // 2
    window = torch.cat((torch.arange(1, half + 1), torch.arange(samples - half, 0, -1)))
    return window / window.max()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """A way through a mix; chunks start at 0, hop, 2 hop ..."""

    window: Callable[[int], Tensor]
    # What a mix's end cuts off: the last chunk is moved back to end with the mix; or every chunk
    # that has begun is completed, at its end by reflection or silence, or on both sides by what is
    # there and silence.
    ending: Literal["aligned", "padded", "centred"]
    reflects: bool = False  # the end is completed by reflection where that is long enough
    border: bool = False  # the mix is reflected by chunk - hop at both ends

    def hop(self, chunk: int, overlap: float) -> int:
        """Return the samples between chunks."""
        exact = chunk / overlap
        return max(1, round(exact) if self.ending == "aligned" else int(exact))


# "sep": every chunk has real context, none more than needed is computed. "msst": ZFTurbo's
# Music-Source-Separation-Training, `demix` in generic mode, one chunk at a time; "msst-demucs": the
# same in demucs mode. "demucs": `apply_model` with split, no shifts.
SCHEMES: dict[sep_models.Scheme, Scheme] = {
    "sep": Scheme(window=hann, ending="aligned"),
    "msst": Scheme(window=faded, ending="padded", reflects=True, border=True),
    "msst-demucs": Scheme(window=torch.ones, ending="padded"),
    "demucs": Scheme(window=triangle, ending="centred"),
}


def completed(mix: Tensor, at: int, length: int, size: int, scheme: Scheme) -> Tensor:
    """[C, n] to [C, size]: `length` samples from `at` on, completed by a scheme's ending."""
    part = mix.narrow(-1, at, length)
    missing = size - length
    if not missing:
        return part
    if scheme.ending == "padded":
        if scheme.reflects and length > size // 2:
            return functional.pad(part.unsqueeze(0), (0, missing), mode="reflect")[0]
        return functional.pad(part, (0, missing))
    left = missing // 2
    real = min(left, at)
    part = mix.narrow(-1, at - real, real + length)
    return functional.pad(part, (left - real, missing - left))
