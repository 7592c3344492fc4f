"""SCNet and its variants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sep_runtime.models.prepared import Prepared, cut_of, shape_of
from sep_runtime.nets.scnet import Scnet, ScnetShape

if TYPE_CHECKING:
    import torch

    from sep_models import Manifest


def prepare(manifest: Manifest, overlap: float, batch: int | None) -> Prepared:
    """Return what a model's Separator is made of; raise ModelError, UsageError."""
    shape = shape_of(ScnetShape, manifest.network, len(manifest.outputs))
    cut = cut_of(
        manifest.chunk,
        overlap,
        batch,
        manifest.scheme,
        shortest=shape.nfft,
        bins=shape.nfft / shape.hop_size,
    )
    return Prepared(
        empty=lambda: Scnet(shape),
        cut=cut,
        bytes_of=lambda dtype: memory_of(shape, cut.chunk, dtype),
        step=shape.hop_size,
    )


def memory_of(shape: ScnetShape, chunk: int, dtype: torch.dtype) -> int:
    """Return about how many bytes one chunk takes on its way through the network.

    The outermost block, at which frequency is hardly thinned: its skip, its convolution, and what
    the last fusion makes of both; in float32 the spectra of all stems.
    """
    cells = chunk // shape.hop_size * (shape.nfft // 2)
    spectra = 2 * shape.audio_channels * shape.stems * cells
    return int(6 * shape.dims[1] * cells * dtype.itemsize + 4 * 4 * spectra)
