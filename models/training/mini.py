"""The shape of `mdx23c-mini`, in one place."""

from __future__ import annotations

from sep_runtime.nets.tfc_tdf import TfcTdfShape

SHAPE = TfcTdfShape(
    stems=5,
    channels=40,
    growth=24,
    subbands=8,
    output="mask",
    input="magnitude",
    peak=0.7,  # within what `pool.vary` draws, and that of the validation sets
)
CHUNK = SHAPE.chunk(16)  # samples; training and inference alike, as InstanceNorm sees the chunk
OVERLAP = 1.25  # chunk / hop; 2 gives at most 0.05 dB more
