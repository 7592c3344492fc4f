"""Operators by kernels of our own, in half precision on NVIDIA GPUs; None where torch is to do it.

Instance norm with GELU in channels-last order: one pass over the memory for the sums, one for the
rest. Rotary positions: one pass, which also lays heads before tokens.
"""

from __future__ import annotations

import logging
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from sep_runtime.accel import kernels

if TYPE_CHECKING:
    from torch import Tensor, nn

VECTOR = 8  # values that a thread loads at once
THREADS = 256  # of a block
MOST_CHANNELS = THREADS * VECTOR
POSITIONS = 16  # that a thread goes through, at least
MOST_TILES = 256  # blocks that share the sums of one item
GRID = 5  # dimensions of what is turned
MOST_VALUES = 1 << 31  # of a tensor: the kernels count in 32 bits
MOST_BLOCKS = 1 << 15
ERROR = 4.0  # units of the type's precision that a value may differ from torch's, of its largest

log = logging.getLogger(__name__)
_LOCK = threading.Lock()
_USED: set[torch.device] = set()


def norm_gelu(x: Tensor, norm: nn.InstanceNorm2d) -> Tensor | None:
    """[B, C, T, F] in channels-last order to gelu(norm(x)); None where that cannot be done."""
    channels = x.shape[1]
    if (
        x.dtype not in kernels.HALVES
        or not x.is_cuda
        or channels % VECTOR
        or channels > MOST_CHANNELS
        or not x.is_contiguous(memory_format=torch.channels_last)
    ):
        return None
    found = _found(x)
    return None if found is None else _norm_gelu(found, x, norm)


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor | None:
    """[B, rows, heads, tokens, d] of any strides to the same, contiguous, with its pairs turned.

    Those are (m, m + d / 2), the angles' cos and sin [tokens, d / 2] in float32. None where that
    cannot be done.
    """
    if (
        x.dtype not in kernels.HALVES
        or not x.is_cuda
        or x.dim() != GRID
        or x.shape[-1] % (2 * VECTOR)
        or x.stride(-1) != 1
        or any(stride % VECTOR for stride in x.stride()[:-1])
        or x.storage_offset() % VECTOR
        or x.numel() >= MOST_VALUES
    ):
        return None
    found = _found(x)
    return None if found is None else _turned(found, x, cos, sin)


def _found(x: Tensor) -> dict[str, Any] | None:
    """Return the kernels for a tensor's device and type, if they are right there."""
    with _LOCK:
        found = _proved(x.device, x.dtype)
    if found is not None:
        _USED.add(x.device)
    return found


def _turned(loaded: dict[str, Any], x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    items, rows, heads, tokens, d = x.shape
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    lanes = d // (2 * VECTOR)
    threads = x.numel() // (2 * VECTOR)
    loaded["turned"](
        grid=(min(MOST_BLOCKS, -(-threads // THREADS)), 1, 1),
        block=(THREADS, 1, 1),
        args=[x, cos, sin, y, lanes, heads, tokens, rows, items, *x.stride()[:-1]],
        stream=torch.cuda.current_stream(x.device),
    )
    return y


def _norm_gelu(loaded: dict[str, Any], x: Tensor, norm: nn.InstanceNorm2d) -> Tensor:
    items, channels, height, width = x.shape
    positions = height * width
    lanes = channels // VECTOR
    rows = THREADS // lanes
    threads = lanes * rows
    tile = max(rows * POSITIONS, -(-positions // MOST_TILES))
    tiles = -(-positions // tile)
    parts = torch.empty(items, tiles, 2, channels, device=x.device)
    moments = torch.empty(items, 2, channels, device=x.device)
    y = torch.empty_like(x)
    stream = torch.cuda.current_stream(x.device)
    loaded["norm_sums"](
        grid=(tiles, items, 1),
        block=(threads, 1, 1),
        args=[x, parts, channels, positions, tile],
        shared_mem=rows * 2 * channels * 4,
        stream=stream,
    )
    loaded["norm_moments"](
        grid=(-(-channels // 32), items, 1),
        block=(32, 8, 1),
        args=[x, parts, norm.weight, norm.bias, moments, channels, positions, tiles, norm.eps],
        stream=stream,
    )
    tile = rows * POSITIONS
    loaded["norm_gelu"](
        grid=(-(-positions // tile), items, 1),
        block=(threads, 1, 1),
        args=[x, moments, y, channels, positions, tile],
        stream=stream,
    )
    return y


def is_used() -> bool:
    """Say whether kernels of ours have run in this process."""
    return bool(_USED)


@cache
def _proved(device: torch.device, dtype: torch.dtype) -> dict[str, Any] | None:
    """Return the kernels, proved on the device; None where they cannot be made or are wrong."""
    try:
        with torch.cuda.device(device):
            loaded = kernels.loaded(dtype)
            error = max(_error(loaded, device, dtype), _error_of_turned(loaded, device, dtype))
    except Exception as fault:  # noqa: BLE001 (torch's private ways may be missing or changed)
        log.info("no kernels of our own on %s: %s", device, fault)
        return None
    if not error <= ERROR * torch.finfo(dtype).eps:  # also for what is no number
        log.warning("our kernels are wrong by %.1e on %s: not used", error, device)
        return None
    return loaded


def _error(loaded: dict[str, Any], device: torch.device, dtype: torch.dtype) -> float:
    """Return how far fresh random input comes out from torch's in float32, of the largest value."""
    worst = 0.0
    for channels, height, width in ((128, 37, 64), (40, 16, 9), (768, 8, 8)):
        norm = torch.nn.InstanceNorm2d(channels, affine=True, device=device)
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
        x = torch.randn(2, channels, height, width, device=device) + 3
        x = x.to(dtype).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            true = torch.nn.functional.gelu(norm(x.float()))
            found = _norm_gelu(loaded, x, norm).float()
        worst = max(worst, float((found - true).abs().max() / true.abs().max()))
    return worst


def _error_of_turned(loaded: dict[str, Any], device: torch.device, dtype: torch.dtype) -> float:
    """Return the same for rotary positions."""
    worst = 0.0
    for items, rows, tokens, heads, d in ((2, 3, 37, 4, 64), (1, 5, 8, 1, 16)):
        laid = torch.randn(items, tokens, rows, 3, heads, d, device=device).to(dtype)
        angles = torch.rand(tokens, d // 2, device=device) * 100
        cos, sin = angles.cos(), angles.sin()
        for x in laid.unbind(3)[:2]:
            x = x.permute(0, 2, 3, 1, 4)  # noqa: PLW2901 (as attention has it)
            a, b = x.float().chunk(2, -1)
            true = torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
            found = _turned(loaded, x, cos, sin).float()
            worst = max(worst, float((found - true).abs().max() / true.abs().max()))
    return worst
