"""Streams that give at their own pace, side by side; a stream at another rate; what stems leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from sep_runtime.audio.resample import Resampler
from sep_runtime.streams.around import AroundSeparator, AroundStream
from sep_runtime.streams.single import UNCHANGED

if TYPE_CHECKING:
    from sep_runtime.streams.overlap import Separator, Stream
    from sep_runtime.streams.single import Level


class Waiting:
    """Samples [..., n] that came and were not taken yet, on the device of what came last."""

    def __init__(self) -> None:
        self._parts: list[torch.Tensor] = []

    @property
    def samples(self) -> int:
        """How many there are."""
        return sum(each.shape[-1] for each in self._parts)

    def put(self, samples: torch.Tensor) -> None:
        """Add [..., n] to the end."""
        self._parts.append(samples)

    def all(self) -> torch.Tensor:
        """[..., n]: all of them, which stay."""
        device = self._parts[-1].device
        if len(self._parts) > 1:
            self._parts = [torch.cat([each.to(device) for each in self._parts], -1)]
        return self._parts[0]

    def take(self, count: int) -> torch.Tensor:
        """[..., count]: the first ones, which are there no more."""
        found = self.all()
        self._parts = [found.narrow(-1, count, found.shape[-1] - count).clone()]
        return found.narrow(-1, 0, count)

    def take_all(self) -> torch.Tensor:
        """[..., n]: all of them, which are there no more."""
        return self.take(self.samples)


class Completed(AroundSeparator):
    """A Separator that gives what its others leave of the mix as a stem, at its own rate."""

    def __init__(self, separator: Separator, name: str) -> None:
        super().__init__(separator)
        self._separator = separator
        self.stems = (*separator.stems, name)
        self.rest = False

    def stream(self, level: Level = UNCHANGED) -> CompletedStream:
        """Begin a pass over one mix."""
        return CompletedStream(self._separator.stream(level))


class CompletedStream(AroundStream):
    """A pass of it."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        self._mix = Waiting()

    def push(self, mix: torch.Tensor) -> torch.Tensor:
        """[C, n] to [S, C, m]."""
        self._mix.put(mix)
        return self._with_rest(self._stream.push(mix))

    def finish(self) -> torch.Tensor:
        """[S, C, m]."""
        return self._with_rest(self._stream.finish())

    def _with_rest(self, stems: torch.Tensor) -> torch.Tensor:
        if not stems.shape[-1]:
            return stems.new_zeros(stems.shape[0] + 1, *stems.shape[1:])
        mix = self._mix.take(stems.shape[-1]).to(stems.device)
        return torch.cat((stems, (mix - stems.sum(0)).unsqueeze(0)))


class Converted(AroundSeparator):
    """A Separator at another sample rate than its own."""

    def __init__(self, separator: Separator, sample_rate: int) -> None:
        super().__init__(separator)
        self.separator = separator
        self.sample_rate = sample_rate

    def stream(self, level: Level = UNCHANGED) -> ConvertedStream:
        """Begin a pass over one mix."""
        return ConvertedStream(self, self.separator.stream(level))


class ConvertedStream(AroundStream):
    """A pass of it; as many samples come out as went in."""

    def __init__(self, model: Converted, stream: Stream) -> None:
        super().__init__(stream)
        inner, outer = model.separator.sample_rate, model.sample_rate
        self._silence = np.zeros((model.channels, 0), np.float32)
        self._there = Resampler(outer, inner, model.channels)
        self._back = Resampler(inner, outer, len(model.stems) * model.channels)
        self._seen = self._given = 0

    def push(self, mix: torch.Tensor) -> torch.Tensor:
        """[C, n] to [S, C, m]."""
        self._seen += mix.shape[-1]
        there = self._there.push(mix.cpu().numpy())
        return self._returned(self._stream.push(torch.from_numpy(there)))

    def finish(self) -> torch.Tensor:
        """[S, C, m]."""
        end = self._there.push(self._silence, last=True)
        parts = (self._stream.push(torch.from_numpy(end)), self._stream.finish())
        stems = torch.cat([each.cpu() for each in parts], -1)
        return self._returned(stems, last=True)

    def _returned(self, stems: torch.Tensor, *, last: bool = False) -> torch.Tensor:
        lanes = self._back.push(stems.cpu().flatten(0, 1).numpy(), last=last)
        count = self._seen - self._given
        if last and lanes.shape[1] < count:
            lanes = np.pad(lanes, ((0, 0), (0, count - lanes.shape[1])))
        lanes = lanes[:, :count]
        self._given += lanes.shape[1]
        return torch.from_numpy(np.ascontiguousarray(lanes)).view(*stems.shape[:2], -1)


def at_rate(separator: Separator, sample_rate: int) -> Separator:
    """Return the separator for mixes of that rate."""
    same = separator.sample_rate == sample_rate
    return separator if same else Converted(separator, sample_rate)
