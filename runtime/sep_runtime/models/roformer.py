"""BS- and Mel-Band Roformer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sep_runtime.models.prepared import Prepared, cut_of, shape_of
from sep_runtime.nets.roformer import Roformer, RoformerShape

if TYPE_CHECKING:
    import torch

    from sep_models import Manifest


def prepare(manifest: Manifest, overlap: float, batch: int | None) -> Prepared:
    """Return what a model's Separator is made of; raise ModelError, UsageError."""
    shape = shape_of(RoformerShape, manifest.network, len(manifest.outputs))
    cut = cut_of(
        manifest.chunk,
        overlap,
        batch,
        manifest.scheme,
        shortest=shape.shortest,
        bins=shape.n_fft / shape.hop,
    )
    return Prepared(
        empty=lambda: Roformer(shape),
        cut=cut,
        bytes_of=lambda dtype: memory_of(shape, cut.chunk, dtype),
        step=shape.hop,
    )


def memory_of(shape: RoformerShape, chunk: int, dtype: torch.dtype) -> int:
    """Return about how many bytes one chunk takes on its way through the network.

    Tokens with what attention or the feed-forward layers make of them, and in float32 the masks of
    one stem with their products, and the stems.
    """
    frames = chunk // shape.hop + 1
    tokens = frames * len(shape.ranges)
    wide = max(4 * shape.dim, 8 * shape.heads * shape.dim_head)
    spectrum = 2 * shape.audio_channels * frames * shape.bins
    stems = shape.stems * shape.audio_channels * chunk
    return int(
        tokens * (4 * shape.dim + 2 * wide) * dtype.itemsize + 4 * (8 * spectrum + 4 * stems)
    )
