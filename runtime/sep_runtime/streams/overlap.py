"""Overlap-add of a network that works on chunks, over a stream of any length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from sep_runtime.streams.schemes import SCHEMES, completed
from sep_runtime.streams.single import UNCHANGED

if TYPE_CHECKING:
    from collections.abc import Callable

    import sep_models
    from sep_runtime.streams.single import Level, Stage


class Pass(Protocol):
    """One pass over one mix, at the model's rate: blocks in, finished stems out."""

    @property
    def chunks(self) -> int:
        """How many the network has seen."""

    @property
    def device(self) -> torch.device:
        """Where stems are made; it may change to the CPU when memory is short."""

    def push(self, mix: Tensor) -> Tensor:
        """[C, n] to [S, C, m]: take n samples, give the m that no later one can change."""

    def finish(self) -> Tensor:
        """[S, C, m]: give the rest; the whole is as long as the mix."""


class Stream(Pass, Protocol):
    """One that knows how far each of its models is."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Each of its models, in the order in which they hear the mix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunking:
    """How a mix is cut."""

    chunk: int  # samples given to the network at once
    hop: int  # samples between chunks
    batch: int = 1  # chunks given to the network together
    scheme: sep_models.Scheme = "sep"

    def __post_init__(self) -> None:
        """Raise ValueError unless 1 <= hop <= chunk and batch >= 1."""
        if not 1 <= self.hop <= self.chunk or self.batch < 1:
            raise ValueError(f"no such cut: {self}")


class Separator(Protocol):
    """A loaded model, or several that work together; one stream per mix."""

    stems: tuple[str, ...]  # that it gives
    apart: int  # how many of the last of them are no part of the mix's sum
    rest: bool  # whether one more stem is the mix minus these
    sample_rate: int  # Hz
    channels: int
    normalize: bool  # whether it needs to know a mix's level
    step: int  # samples between two frames of its transform
    cut: Chunking

    def stream(self, level: Level = UNCHANGED) -> Stream:
        """Begin a pass over one mix of that level, which counts where it normalises."""


def open_stream(
    network: Callable[[Tensor], Tensor],
    cut: Chunking,
    *,
    stems: int,
    channels: int,
    device: torch.device,
    short: Callable[[int], int] | None = None,
    free: bool = False,
) -> Pass:
    """Begin a pass of `OverlapAdd`, with what the scheme puts around a mix."""
    stream = OverlapAdd(
        network, cut, stems=stems, channels=channels, device=device, short=short, free=free
    )
    border = cut.chunk - cut.hop if SCHEMES[cut.scheme].border else 0
    return Bordered(stream, border, channels) if border else stream


class OverlapAdd:
    """A Pass over chunks that start at 0, hop, 2 hop ... and those that the mix's end cuts off.

    Every output is the mean of the chunks that cover it, weighted by the scheme's window, which is
    strictly positive, so an identity network gives its input back. Until the end is known, samples
    that the last chunks might touch are held back. `network` maps [B, C, chunk] to
    [B, S, C, chunk]. Where the last chunk is moved back to the end, a mix shorter than a chunk is
    padded with zeros to `short(samples)`, which must be at least as long; elsewhere, what the end
    cuts off is completed to a chunk, unless the network is `free` to take any length.
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
        free: bool = False,
    ) -> None:
        self.chunks = 0
        self._network = network
        self._cut = cut
        self._scheme = SCHEMES[cut.scheme]
        self._short = short
        self._free = free
        self._window = self._scheme.window(cut.chunk).to(device)
        # The mix stays where it is until a batch of it is sent; from sample self._kept on.
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
        settled = kept = self._waiting[0] if self._waiting else self._next
        if self._scheme.ending == "aligned":
            settled = kept = max(0, min(settled, self._seen - self._cut.chunk))
        elif self._scheme.ending == "centred":
            kept = max(0, settled - self._cut.chunk // 2)
        self._pieces = [self._mix().narrow(-1, kept - self._kept, self._seen - kept).clone()]
        self._kept = kept
        return self._give(settled)

    def finish(self, spare: int = 0) -> Tensor:
        """[S, C, m]; chunks of the last `spare` samples alone are not computed: none needs them."""
        if self._scheme.ending != "aligned":
            self._waiting += range(self._next, self._seen - spare, self._cut.hop)
        elif 0 < self._seen < self._cut.chunk:
            self._run_short()
        elif self._seen:
            self._waiting.append(self._seen - self._cut.chunk)
        for starts in self._groups():
            self._run(starts)
        self._waiting = []
        self._reach(self._seen)
        return self._give(self._seen)

    def _groups(self) -> list[list[int]]:
        """Return what waits in batches; a chunk of a length of its own is one by itself."""
        size = self._cut.chunk
        cut = [start for start in self._waiting if self._free and start + size > self._seen]
        rest = self._waiting[: len(self._waiting) - len(cut)]
        batch = self._cut.batch
        return [
            *(rest[i : i + batch] for i in range(0, len(rest), batch)),
            *([each] for each in cut),
        ]

    def _mix(self) -> Tensor:
        """[C, n]: what is kept of the mix, in one piece."""
        if len(self._pieces) > 1:
            device = self._pieces[-1].device
            self._pieces = [torch.cat([each.to(device) for each in self._pieces], -1)]
        return self._pieces[0]

    def _run(self, starts: list[int]) -> None:
        size, mix = self._cut.chunk, self._mix()
        lengths = [min(size, self._seen - start) for start in starts]
        full = lengths[0] if self._free else size
        parts = [
            completed(mix, start - self._kept, length, full, self._scheme)
            for start, length in zip(starts, lengths, strict=True)
        ]
        outputs = self._network(torch.stack(parts))
        self.chunks += len(starts)
        self._move(outputs.device)
        self._reach(starts[-1] + lengths[-1])
        for start, length, output in zip(starts, lengths, outputs, strict=True):
            before = (full - length) // 2 if self._scheme.ending == "centred" else 0
            part = output.narrow(-1, before, length)
            self._add(start, part, self._window.narrow(0, 0, length))

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


class Bordered:
    """A Pass over a mix that is reflected by `border` samples at both ends.

    A mix that is not longer than both together stays as it is.
    """

    def __init__(self, stream: OverlapAdd, border: int, channels: int) -> None:
        self._stream = stream
        self._border = border
        self._begun = False
        self._head = torch.zeros(channels, 0)  # until enough is here to reflect it
        self._tail = self._head  # the last samples, for the end's reflection
        self._skip = border  # samples of the reflected start, not part of the output
        self._seen = 0
        self._given = 0

    @property
    def chunks(self) -> int:
        """How many the network has seen."""
        return self._stream.chunks

    @property
    def device(self) -> torch.device:
        """Where the sums are."""
        return self._stream.device

    def push(self, mix: Tensor) -> Tensor:
        """[C, n] to [S, C, m]."""
        self._seen += mix.shape[-1]
        if not self._begun:
            self._head = mix = torch.cat((self._head.to(mix.device), mix), -1)
            if self._seen <= 2 * self._border:
                return self._trimmed(self._stream.push(mix.narrow(-1, 0, 0)))
            self._begun = True
            self._head = mix.narrow(-1, 0, 0)
            mix = torch.cat((mix.narrow(-1, 1, self._border).flip(-1), mix), -1)
        last = torch.cat((self._tail.to(mix.device), mix), -1)
        self._tail = last[:, -self._border - 1 :].clone()
        return self._trimmed(self._stream.push(mix))

    def finish(self) -> Tensor:
        """[S, C, m]."""
        if not self._begun:
            return torch.cat((self._stream.push(self._head), self._stream.finish()), -1)
        end = self._tail.narrow(-1, 0, self._border).flip(-1)
        parts = (self._stream.push(end), self._stream.finish(self._border))
        done = torch.cat([self._trimmed(part.to(self.device)) for part in parts], -1)
        return done.narrow(-1, 0, done.shape[-1] + self._seen - self._given)

    def _trimmed(self, stems: Tensor) -> Tensor:
        """Cut the reflected start off."""
        skipped = min(self._skip, stems.shape[-1])
        self._skip -= skipped
        stems = stems.narrow(-1, skipped, stems.shape[-1] - skipped)
        self._given += stems.shape[-1]
        return stems
