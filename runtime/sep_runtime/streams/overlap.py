"""Overlap-add of a network that works on chunks, over a stream of any length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable


class Stream(Protocol):
    """One pass over one mix, at the model's rate: blocks in, finished stems out."""

    chunks: int  # how many the network has seen

    @property
    def device(self) -> torch.device:
        """Where stems are made; it may change to the CPU when memory is short."""

    def push(self, mix: Tensor) -> Tensor:
        """[C, n] to [S, C, m]: take n samples, give the m that no later one can change."""

    def finish(self) -> Tensor:
        """[S, C, m]: give the rest; the whole is as long as the mix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunking:
    """How a mix is cut."""

    chunk: int  # samples given to the network at once
    hop: int  # samples between chunks
    batch: int = 1  # chunks given to the network together

    def __post_init__(self) -> None:
        """Raise ValueError unless 1 <= hop <= chunk and batch >= 1."""
        if not 1 <= self.hop <= self.chunk or self.batch < 1:
            raise ValueError(f"no such cut: {self}")


class Separator(Protocol):
    """A loaded model; one stream per mix."""

    stems: tuple[str, ...]
    sample_rate: int  # Hz
    channels: int
    cut: Chunking

    def stream(self) -> Stream:
        """Begin a pass over one mix."""


def hann(samples: int) -> Tensor:
    """[samples]: sin^2(pi (n + 1/2) / samples), the Hann window shifted off its zeros.

    Strictly positive, and its copies at half its length add up to 1.
    """
    n = torch.arange(samples, dtype=torch.float64)
    return torch.sin(torch.pi * (n + 0.5) / samples).square().to(torch.float32)


class OverlapAdd:
    """A Stream over chunks that start at 0, hop, 2 hop ... and one that ends with the mix.

    Every output is the mean of the chunks that cover it, weighted by `hann`; the weights are
    strictly positive, so an identity network gives its input back. The last chunk is aligned to
    the end and so has real context; until the end is known, samples it might touch are held back.
    `network` maps [B, C, chunk] to [B, S, C, chunk]. A mix shorter than a chunk is padded with
    zeros to `short(samples)`, which must be at least as long.
    """

    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        cut: Chunking,
        *,
        stems: int,
        channels: int,
        device: torch.device,
        short: Callable[[int], int] | None = None,
    ) -> None:
        self.chunks = 0
        self._network = network
        self._cut = cut
        self._short = short
        self._window = hann(cut.chunk).to(device)
        # The mix stays on the host until a batch of it is sent; from sample self._kept on.
        self._pieces = [torch.zeros(channels, 0)]
        self._sum = torch.zeros(stems, channels, 0, device=device)  # from sample self._given on
        self._weight = torch.zeros(0, device=device)
        self._kept = 0
        self._given = 0
        self._seen = 0
        self._next = 0  # start of the next chunk on the grid
        self._waiting: list[int] = []  # starts of whole chunks that wait for a full batch

    @property
    def device(self) -> torch.device:
        """Where the sums are."""
        return self._sum.device

    def push(self, mix: Tensor) -> Tensor:
        """[C, n] to [S, C, m]."""
        self._pieces.append(mix)
        self._seen += mix.shape[-1]
        ran = False
        # Strictly less: a chunk that ends with what was seen may be the last one.
        while self._next + self._cut.chunk < self._seen:
            self._waiting.append(self._next)
            self._next += self._cut.hop
            if len(self._waiting) == self._cut.batch:
                self._run(self._waiting)
                self._waiting = []
                ran = True
        if not ran:
            return self._sum.narrow(-1, 0, 0)
        first = self._waiting[0] if self._waiting else self._next
        settled = max(0, min(first, self._seen - self._cut.chunk))
        self._pieces = [self._mix().narrow(-1, settled - self._kept, self._seen - settled).clone()]
        self._kept = settled
        return self._give(settled)

    def finish(self) -> Tensor:
        """[S, C, m]."""
        if 0 < self._seen < self._cut.chunk:
            self._run_short()
        elif self._seen:
            self._waiting.append(self._seen - self._cut.chunk)
            for i in range(0, len(self._waiting), self._cut.batch):
                self._run(self._waiting[i : i + self._cut.batch])
            self._waiting = []
        return self._give(self._seen)

    def _mix(self) -> Tensor:
        """[C, n]: what is kept of the mix, in one piece."""
        if len(self._pieces) > 1:
            self._pieces = [torch.cat(self._pieces, -1)]
        return self._pieces[0]

    def _run(self, starts: list[int]) -> None:
        size, mix = self._cut.chunk, self._mix()
        parts = [mix.narrow(-1, start - self._kept, size) for start in starts]
        outputs = self._network(torch.stack(parts))
        self.chunks += len(starts)
        self._move(outputs.device)
        self._reach(starts[-1] + size)
        for start, output in zip(starts, outputs, strict=True):
            self._add(start, output, self._window)

    def _run_short(self) -> None:
        mix = self._mix()
        size = self._short(self._seen) if self._short else self._cut.chunk
        padded = mix.new_zeros(1, mix.shape[0], size)
        padded.narrow(-1, 0, self._seen).copy_(mix)
        output = self._network(padded)[0].narrow(-1, 0, self._seen)
        self.chunks += 1
        self._move(output.device)
        self._reach(self._seen)
        self._add(0, output, self._window.new_ones(self._seen))

    def _move(self, device: torch.device) -> None:
        """Go on where the network went when memory was short."""
        if device != self._sum.device:
            self._sum, self._weight = self._sum.to(device), self._weight.to(device)
            self._window = self._window.to(device)

    def _reach(self, end: int) -> None:
        """Make the sums as long as chunks that end at this sample need."""
        missing = end - self._given - self._weight.shape[0]
        if missing > 0:
            self._sum = torch.nn.functional.pad(self._sum, (0, missing))
            self._weight = torch.nn.functional.pad(self._weight, (0, missing))

    def _add(self, start: int, output: Tensor, window: Tensor) -> None:
        at = start - self._given
        self._sum.narrow(-1, at, window.shape[0]).addcmul_(output, window)
        self._weight.narrow(-1, at, window.shape[0]).add_(window)

    def _give(self, until: int) -> Tensor:
        count = until - self._given
        ready = self._sum.narrow(-1, 0, count) / self._weight.narrow(-1, 0, count)
        rest = self._weight.shape[0] - count
        self._sum = self._sum.narrow(-1, count, rest).clone()
        self._weight = self._weight.narrow(-1, count, rest).clone()
        self._given = until
        return ready
