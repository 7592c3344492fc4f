"""Hybrid Demucs, with and without its transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sep_protocol.errors import ModelError
from sep_runtime.models.prepared import Prepared, cut_of, shape_of
from sep_runtime.nets.hdemucs import HDemucs, HDemucsShape
from sep_runtime.nets.htdemucs import HTDemucs, HTDemucsShape

if TYPE_CHECKING:
    import torch

    from sep_models import Manifest


def prepare(manifest: Manifest, overlap: float, batch: int | None) -> Prepared:
    """Return what a model's Separator is made of; raise ModelError, UsageError."""
    stems = len(manifest.outputs)
    shape: HDemucsShape | HTDemucsShape
    if manifest.architecture == "hdemucs":
        shape = shape_of(HDemucsShape, manifest.network, stems)
    else:
        shape = shape_of(HTDemucsShape, manifest.network, stems)
        if shape.segment and manifest.chunk > shape.segment:
            raise ModelError(
                f"a chunk of {manifest.chunk} samples is more than the {shape.segment} that this "
                "network was trained on"
            )

    def make() -> HDemucs | HTDemucs:
        return HDemucs(shape) if isinstance(shape, HDemucsShape) else HTDemucs(shape)

    cut = cut_of(manifest.chunk, overlap, batch, manifest.scheme, shortest=1, bins=4)
    return Prepared(
        empty=make,
        cut=cut,
        bytes_of=lambda dtype: memory_of(shape, cut.chunk, dtype),
        step=shape.nfft // 4,
        free=shape.free and manifest.scheme == "demucs",
    )


def memory_of(shape: HDemucsShape | HTDemucsShape, chunk: int, dtype: torch.dtype) -> int:
    """Return about how many bytes one chunk takes on its way through the network.

    Skips of every layer of both branches, what the widest makes of its input, and in float32 the
    spectra of all stems with what becomes of them. Four layers have what counts: each has a
    quarter of the samples and twice the channels.
    """
    spectrum = 2 * shape.audio_channels * chunk  # hop = nfft / 4: four times the samples
    widest = shape.channels * chunk  # a quarter of the bins at a quarter of the frames
    skips = sum(widest // 2**level for level in range(4)) * 2
    return int((skips + 8 * widest) * dtype.itemsize + 4 * shape.stems * 6 * spectrum * 2)
