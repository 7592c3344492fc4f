"""MDX23C: TFC-TDF v3 over overlapping chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sep_protocol.errors import ModelError
from sep_runtime.models.prepared import Prepared, cut_of, shape_of
from sep_runtime.nets.tfc_tdf import TfcTdf, TfcTdfShape

if TYPE_CHECKING:
    import torch

    from sep_models import Manifest
    from sep_runtime.streams.overlap import Chunking


def prepare(manifest: Manifest, overlap: float, batch: int | None) -> Prepared:
    """Return what a model's Separator is made of; raise ModelError, UsageError."""
    shape = shape_of(TfcTdfShape, manifest.network, len(manifest.outputs))
    chunk = manifest.chunk
    cut = cut_for(shape, chunk, overlap, batch)
    return Prepared(
        empty=lambda: TfcTdf(shape),
        cut=cut,
        bytes_of=lambda dtype: memory_of(shape, chunk, dtype),
        step=shape.hop,
        short=lambda samples: short(shape, samples, chunk),
    )


def cut_for(shape: TfcTdfShape, chunk: int, overlap: float, batch: int | None) -> Chunking:
    """Return how to cut a mix; raise ModelError or UsageError where it cannot be."""
    if not shape.fits(chunk):
        raise ModelError(
            f"a chunk of {chunk} samples does not fit this network: it takes "
            f"{shape.hop} x (k x {shape.frame_step} - 1)",
            hint=f"{shape.chunk(8)} is one that does",
        )
    steps = (chunk // shape.hop + 1) // shape.frame_step
    if steps * shape.narrowest < 2:  # noqa: PLR2004 (one value has no deviation)
        raise ModelError(f"a chunk of {chunk} samples is too short for this network")
    return cut_of(chunk, overlap, batch, shortest=shape.shortest, bins=shape.n_fft / shape.hop)


def short(shape: TfcTdfShape, samples: int, most: int) -> int:
    """Return a valid chunk, in samples, that holds so short a mix: with a step to spare.

    Why one to spare: `benchmarks/short_clips.py`; and of a single step the innermost InstanceNorm
    may see but one value, which has no deviation.
    """
    held = max(samples, shape.shortest)
    frames = -(-held // shape.hop) + 1
    steps = max(2, 1 - (-frames // shape.frame_step))
    return min(shape.chunk(steps), most)


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
