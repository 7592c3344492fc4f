"""Samples on their way from a device to the host, while the device goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


class Arriving:
    """A tensor of a device; `arrived` gives it on the host, and `seconds` is what it took there.

    On an NVIDIA GPU the copy is asynchronous and the time is the device's own; elsewhere both have
    ended when this is made. `begun` is what `mark` gave before the work.
    """

    def __init__(self, there: Tensor, begun: torch.cuda.Event | None = None) -> None:
        self._begun, self._ended = begun, None
        if begun is not None and there.is_cuda:
            with torch.cuda.device(there.device):  # or it would take memory of the first GPU, too
                self._host = torch.empty(there.shape, dtype=there.dtype, pin_memory=True)
            self._host.copy_(there, non_blocking=True)
            self._ended = mark(there.device)
        else:
            self._host = there.cpu()

    @property
    def samples(self) -> int:
        """How many it has along its last axis."""
        return self._host.shape[-1]

    def arrived(self) -> Tensor:
        """Return it on the host."""
        if self._ended is not None:
            self._ended.synchronize()
        return self._host

    @property
    def seconds(self) -> float:
        """Of the device's work, once it has arrived; 0 where the device keeps no time."""
        if self._begun is None or self._ended is None:
            return 0.0
        return float(self._begun.elapsed_time(self._ended)) / 1e3


def mark(device: torch.device) -> torch.cuda.Event | None:
    """Return a mark in what an NVIDIA GPU has been told to do, None on other devices."""
    if device.type != "cuda":
        return None
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return event
