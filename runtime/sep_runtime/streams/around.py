"""What is put around a Separator and its passes: they say of themselves what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from sep_runtime.streams.overlap import Pass, Separator, Stream
    from sep_runtime.streams.single import Stage


class AroundSeparator:
    """The facts of another Separator."""

    def __init__(self, separator: Separator) -> None:
        self.stems = separator.stems
        self.apart = separator.apart
        self.rest = separator.rest
        self.sample_rate = separator.sample_rate
        self.channels = separator.channels
        self.normalize = separator.normalize
        self.step = separator.step
        self.cut = separator.cut


class AroundPass:
    """The state of another Pass."""

    def __init__(self, within: Pass) -> None:
        self._pass = within

    @property
    def chunks(self) -> int:
        """How many the network has seen."""
        return self._pass.chunks

    @property
    def device(self) -> torch.device:
        """Where stems are made."""
        return self._pass.device


class AroundStream(AroundPass):
    """The state of another Stream."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        self._stream = stream

    @property
    def stages(self) -> tuple[Stage, ...]:
        """How far each of its models is."""
        return self._stream.stages
