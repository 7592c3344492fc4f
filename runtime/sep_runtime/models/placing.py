"""A network's weights on a device, in the type that it computes in there."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from sep_runtime.models.adopt import Uninitialised

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

N = TypeVar("N", bound=nn.Module)
IMAGE = 4  # dimensions of a convolution's weights


def placed(network: N, empty: Callable[[], N], device: torch.device, dtype: torch.dtype) -> N:
    """Return a network with the same weights on a device; on the CPU in float32 it is the same.

    `empty` makes one of the same shape. In half precision instance norms and modules that say they
    are `exact` keep float32 weights, as the Fourier transforms do; on NVIDIA GPUs convolutions are
    in channels-last order then.
    """
    if device.type == "cpu" and dtype == torch.float32:
        return network
    with Uninitialised():
        copy = empty()
    exact = {
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.InstanceNorm2d) or getattr(module, "exact", False)
    }

    def moved(key: str, value: Tensor) -> Tensor:
        kept = key.rpartition(".")[0] in exact or not value.is_floating_point()
        there = value.to(device, value.dtype if kept else dtype)
        if there.dim() == IMAGE and not there.is_mps and dtype != torch.float32:
            return there.contiguous(memory_format=torch.channels_last)
        return there

    state = {key: moved(key, value) for key, value in network.state_dict().items()}
    copy.load_state_dict(state, strict=True, assign=True)
    return copy.to(device).eval().requires_grad_(requires_grad=False)
