"""MDX23C as a Separator: TFC-TDF v3 over overlapping chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sep_protocol import speed_fault
from sep_protocol.codec import FormError, decode
from sep_protocol.errors import ModelError, UsageError
from sep_runtime.models import families
from sep_runtime.models.adopt import Uninitialised, adopt
from sep_runtime.nets.tfc_tdf import TfcTdf, TfcTdfShape
from sep_runtime.streams.overlap import Chunking, OverlapAdd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from sep_runtime.models.running import Runner
    from sep_runtime.models.states import State


STEREO = 2
MOST_BINS = 1 << 26  # of a chunk's spectrogram; the largest network that is known has 1 << 21


class Mdx23c:
    """A Separator; its chunk length is part of the model, because InstanceNorm sees the chunk."""

    def __init__(
        self,
        shape: TfcTdfShape,
        runner: Runner,
        *,
        stems: Sequence[str],
        sample_rate: int,
        cut: Chunking,
    ) -> None:
        self.stems = tuple(stems)
        self.sample_rate = sample_rate
        self.channels = shape.audio_channels
        self.cut = cut
        self.runner = runner
        self.shape = shape

    def stream(self) -> OverlapAdd:
        """Begin a pass over one mix."""
        return OverlapAdd(
            self.runner,
            self.cut,
            stems=len(self.stems),
            channels=self.channels,
            device=self.runner.device,
            short=self.short,
        )

    def short(self, samples: int) -> int:
        """Return a valid chunk, in samples, that holds so short a mix: with a step to spare.

        Why one to spare: `benchmarks/short_clips.py`; and of a single step the innermost
        InstanceNorm may see but one value, which has no deviation.
        """
        shape = self.shape
        held = max(samples, shape.shortest)
        frames = -(-held // shape.hop) + 1
        steps = max(2, 1 - (-frames // shape.frame_step))
        return min(shape.chunk(steps), self.cut.chunk)


def shape_of(network: Mapping[str, object], stems: int) -> TfcTdfShape:
    """Return the network's shape from a manifest's table; raise ModelError where it is wrong."""
    try:
        shape = decode(TfcTdfShape, {**network, "stems": stems})
    except (FormError, ValueError) as fault:
        raise ModelError(f"the model's network cannot be built: {fault}") from fault
    if shape.audio_channels != STEREO:
        raise ModelError(
            f"the model's network is for {shape.audio_channels} channels, sep knows stereo alone"
        )
    return shape


def cut_for(shape: TfcTdfShape, chunk: int, overlap: float, batch: int | None) -> Chunking:
    """Return how to cut a mix; raise ModelError or UsageError where it cannot be."""
    if not shape.fits(chunk):
        raise ModelError(
            f"a chunk of {chunk} samples does not fit this network: it takes "
            f"{shape.hop} x (k x {shape.frame_step} - 1)",
            hint=f"{shape.chunk(8)} is one that does",
        )
    steps = (chunk // shape.hop + 1) // shape.frame_step
    if chunk < shape.shortest or steps * shape.narrowest < 2:  # noqa: PLR2004 (one has no deviation)
        raise ModelError(f"a chunk of {chunk} samples is too short for this network")
    if chunk // shape.hop * shape.n_fft > MOST_BINS:
        raise ModelError(f"a chunk of {chunk} samples is too long for this network")
    if fault := speed_fault(overlap, batch):
        raise UsageError(fault)
    if overlap > chunk:
        raise UsageError(f"overlap must be at most {chunk}, the chunk, not {overlap:g}")
    return Chunking(chunk=chunk, hop=max(1, round(chunk / overlap)), batch=batch or 1)


def build(shape: TfcTdfShape, found: Sequence[State]) -> TfcTdf:
    """Return the network with the weights that are its own; raise ModelError where none are."""
    with Uninitialised():
        network = TfcTdf(shape)
    try:
        adopt(network, found)
    except ModelError as fault:
        if family := families.of_weights(found):
            raise families.error("these are the weights of", family) from fault
        raise
    return network.eval().requires_grad_(requires_grad=False)


def memory_of(shape: TfcTdfShape, chunk: int, dtype: torch.dtype) -> int:
    """Return about how many bytes one chunk takes on its way through the network.

    What is kept for the decoder, and at its top the joined inputs with what is made of them.
    """
    frames = chunk // shape.hop + 1
    area = frames * shape.dim_f // shape.subbands
    less = shape.scale[0] * shape.scale[1]
    kept = sum(
        (shape.channels + shape.growth * level) * area // less**level
        for level in range(shape.scales)
    )
    top = 8 * shape.channels * area
    spectra = 4 * shape.stems * shape.audio_channels * frames * (shape.n_fft + 2)
    return int((kept + top) * dtype.itemsize + 4 * spectra)
