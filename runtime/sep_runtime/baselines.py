"""How the field's other tools go through a mix with the same network, to measure beside ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from sep_protocol.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Network = Callable[[Tensor], Tensor]

UVR_OVERLAP = 8


def demix(
    network: Network, mix: Tensor, chunk: int, hop: int, *, batch: int, device: torch.device
) -> tuple[Tensor, int]:
    """[C, T] on the host to ([S, C, T], chunks) as the public training tools' `demix` does it.

    The mix is reflected by chunk - hop at both ends, chunks are faded linearly over a tenth, what
    is too short at the end is padded, and all is added up on the host (ZFTurbo,
    Music-Source-Separation-Training).
    """
    length, border, fade = mix.shape[-1], chunk - hop, chunk // 10
    padded = length > 2 * border > 0
    if padded:
        mix = functional.pad(mix.unsqueeze(0), (border, border), mode="reflect")[0]
    total, count = mix.shape[-1], 0
    result, weights = None, torch.zeros(total)
    waiting: list[tuple[int, int, Tensor]] = []
    for start in range(0, total, hop):
        part = mix[:, start : start + chunk].to(device)
        size = part.shape[-1]
        if size < chunk:
            mode = "reflect" if size > chunk // 2 + 1 else "constant"
            part = functional.pad(part.unsqueeze(0), (0, chunk - size), mode=mode)[0]
        waiting.append((start, size, part))
        if len(waiting) < batch and start + hop < total:
            continue
        outputs = network(torch.stack([each[2] for each in waiting]))
        count += len(waiting)
        for (at, long, _), output in zip(waiting, outputs, strict=True):
            window = torch.ones(chunk)
            if at > 0:
                window[:fade] = torch.linspace(0, 1, fade)
            if at + chunk < total:
                window[-fade:] = torch.linspace(1, 0, fade)
            if result is None:
                result = torch.zeros(output.shape[0], output.shape[1], total)
            result[..., at : at + long] += (output.cpu() * window)[..., :long]
            weights[at : at + long] += window[:long]
        waiting = []
    if result is None:
        raise UsageError("there is nothing to separate")
    result = (result / weights).nan_to_num(0)
    return (result[..., border : border + length] if padded else result), count


def apply_model(
    network: Network, mix: Tensor, chunk: int, hop: int, *, free: bool, device: torch.device
) -> tuple[Tensor, int]:
    """[C, T] on the host to ([S, C, T], chunks) as demucs' `apply_model` does it with split.

    One chunk at a time, the last ones in the middle of what is there and silence, unless the
    network is `free` to take any length; a triangle joins them, on the host.
    """
    length, count = mix.shape[-1], 0
    result, weights = None, torch.zeros(length)
    window = torch.minimum(torch.arange(1, chunk + 1), torch.arange(chunk, 0, -1)).float()
    for start in range(0, length, hop):
        size = min(chunk, length - start)
        missing = 0 if free else chunk - size
        first = start - missing // 2
        left, right = max(0, -first), max(0, first + size + missing - length)
        part = mix[:, max(0, first) : first + size + missing]
        output = network(functional.pad(part, (left, right)).unsqueeze(0).to(device))[0].cpu()
        count += 1
        if result is None:
            result = torch.zeros(*output.shape[:2], length)
        result[..., start : start + size] += window[:size] * output.narrow(-1, missing // 2, size)
        weights[start : start + size] += window[:size]
    if result is None:
        raise UsageError("there is nothing to separate")
    return result / weights, count


def uvr(network: Network, mix: Tensor, chunk: int) -> tuple[Tensor, int]:
    """[C, T] to ([S, C, T], chunks) as Ultimate Vocal Remover does it.

    Overlap 8, one chunk at a time, no window, silence before and after.
    """
    hop = chunk // UVR_OVERLAP
    length, front = mix.shape[-1], chunk - hop
    rest = hop - (length - chunk) % hop
    padded = functional.pad(mix, (front, rest + front))
    result, count = None, 0
    for start in range(0, padded.shape[-1] - chunk + 1, hop):
        output = network(padded[:, start : start + chunk].unsqueeze(0))[0]
        count += 1
        if result is None:
            result = torch.zeros(*output.shape[:2], padded.shape[-1], device=mix.device)
        result[..., start : start + chunk] += output
    if result is None:
        raise UsageError("there is nothing to separate")
    return result[..., front : front + length] / UVR_OVERLAP, count
