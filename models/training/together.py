"""Several GPUs of one machine: every process trains on clips of its own, and all share weights.

Started by `torchrun`; each takes steps by itself and now and then the mean of all weights (Stich:
Local SGD converges fast and communicates little, 2019), so nothing is sent within a step, which
stays one recorded graph.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch
from torch import distributed

if TYPE_CHECKING:
    from collections.abc import Iterable

EVERY = 20  # steps between two means


class Together:
    """This process among those that train one network; alone without `torchrun`."""

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", "0"))
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.every = EVERY if self.count > 1 else 1
        self.device = torch.device("cpu")

    def start(self) -> None:
        """Take this process's GPU and meet the others; not before other processes are forked."""
        if torch.cuda.is_available():
            self.device = torch.device("cuda", self.rank)
            torch.cuda.set_device(self.device)
        if self.count > 1:
            distributed.init_process_group("gloo" if self.device.type == "cpu" else "nccl")

    def end(self) -> None:
        """Leave the others; a process that ends without this can be aborted by its own threads."""
        if self.count > 1:
            distributed.destroy_process_group()

    @torch.no_grad()
    def mean(self, parameters: Iterable[torch.Tensor]) -> None:
        """Give all processes the mean of their parameters, in place."""
        if self.count == 1:
            return
        kept = list(parameters)
        flat = torch.cat([each.flatten() for each in kept])
        distributed.all_reduce(flat)
        flat /= self.count
        start = 0
        for each in kept:
            each.copy_(flat[start : start + each.numel()].view_as(each))
            start += each.numel()

    def first(self, *values: float) -> list[float]:
        """Return what the first process gave, in all of them."""
        if self.count == 1:
            return list(values)
        told = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.broadcast(told, 0)
        return [float(each) for each in told]
