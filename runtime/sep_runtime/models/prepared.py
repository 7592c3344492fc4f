"""What every architecture gives to become a Separator: a network, and how a mix goes through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from sep_protocol import speed_fault
from sep_protocol.codec import FormError, decode
from sep_protocol.errors import ModelError, UsageError
from sep_runtime.streams.overlap import Chunking, open_stream
from sep_runtime.streams.schemes import SCHEMES
from sep_runtime.streams.single import UNCHANGED, Single

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from torch import nn

    from sep_models import Manifest, Scheme
    from sep_runtime.models.running import Runner
    from sep_runtime.streams.overlap import Stream
    from sep_runtime.streams.single import Level

STEREO = 2
MOST_BINS = 1 << 26  # of a chunk's spectrogram; the largest network that is known has 1 << 21

S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A network without its weights, and what its Separator needs to know."""

    empty: Callable[[], nn.Module]  # gives one
    cut: Chunking
    bytes_of: Callable[[torch.dtype], int]  # memory that a chunk takes on its way
    step: int  # samples between two frames of its transform
    short: Callable[[int], int] | None = None  # see `OverlapAdd`
    free: bool = False  # whether it takes chunks of any length


class Chunked:
    """A Separator whose network sees chunks; their length is part of the model."""

    channels = STEREO
    apart = 0

    def __init__(self, prepared: Prepared, runner: Runner, manifest: Manifest) -> None:
        cut = prepared.cut
        self.stems = manifest.outputs
        self.rest = manifest.rest
        self.sample_rate = manifest.sample_rate
        self.normalize = manifest.normalize
        self.step = prepared.step
        self.runner = runner
        self.short = prepared.short
        self.free = prepared.free
        self.cut = Chunking(chunk=cut.chunk, hop=cut.hop, batch=runner.batch, scheme=cut.scheme)

    def stream(self, level: Level = UNCHANGED) -> Stream:
        """Begin a pass over one mix."""
        within = open_stream(
            self.runner,
            self.cut,
            stems=len(self.stems),
            channels=self.channels,
            device=self.runner.device,
            short=self.short,
            free=self.free,
        )
        return Single(within, self.sample_rate, level if self.normalize else UNCHANGED)


def shape_of(kind: type[S], network: Mapping[str, object], stems: int) -> S:
    """Return a network's shape from a manifest's table; raise ModelError where it is wrong."""
    try:
        shape = decode(kind, {**network, "stems": stems})
    except (FormError, ValueError) as fault:
        raise ModelError(f"the model's network cannot be built: {fault}") from fault
    channels = getattr(shape, "audio_channels", STEREO)
    if channels != STEREO:
        raise ModelError(f"the model's network is for {channels} channels, sep knows stereo alone")
    return shape


def cut_of(
    chunk: int,
    overlap: float,
    batch: int | None,
    scheme: Scheme = "sep",
    *,
    shortest: int,
    bins: float,
) -> Chunking:
    """Return how to cut a mix; raise ModelError or UsageError where it cannot be.

    `shortest` is the least that the network takes, in samples; `bins` what its spectrogram has for
    every sample.
    """
    if chunk < shortest:
        raise ModelError(f"a chunk of {chunk} samples is too short for this network")
    if chunk * bins > MOST_BINS:
        raise ModelError(f"a chunk of {chunk} samples is too long for this network")
    if fault := speed_fault(overlap, batch):
        raise UsageError(fault)
    if overlap > chunk:
        raise UsageError(f"overlap must be at most {chunk}, the chunk, not {overlap:g}")
    hop = SCHEMES[scheme].hop(chunk, overlap)
    return Chunking(chunk=chunk, hop=hop, batch=batch or 1, scheme=scheme)
