"""Whole clips through the network: Hann-windowed chunks at overlap 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from sep_runtime.nets.tfc_tdf import TfcTdf


@torch.inference_mode()
def separate(net: TfcTdf, mix: Tensor, chunk: int, batch: int = 1) -> Tensor:
    """[2, T] to [5, 2, T]: chunks every half chunk, cross-faded by a Hann window."""
    hop = chunk // 2
    length = mix.shape[-1]
    count = -(-length // hop) + 1
    padded = torch.nn.functional.pad(mix, (hop, count * hop + chunk - hop - length))
    window = torch.hann_window(chunk, periodic=True, device=mix.device)
    total = mix.new_zeros(net.shape.stems, *padded.shape)
    weight = mix.new_zeros(padded.shape[-1])
    starts = [index * hop for index in range(count)]
    for first in range(0, count, batch):
        group = starts[first : first + batch]
        stems = net(torch.stack([padded[:, start : start + chunk] for start in group]))
        for start, part in zip(group, stems.float(), strict=True):
            total[..., start : start + chunk] += part * window
            weight[start : start + chunk] += window
    return (total / weight.clamp_min(1e-4))[..., hop : hop + length]
