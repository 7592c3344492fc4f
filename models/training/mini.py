"""The shape of `mdx23c-mini`, in one place."""

from __future__ import annotations

from sep_runtime.nets.tfc_tdf import TfcTdfShape

SHAPE = TfcTdfShape(stems=5, channels=32, growth=32, scales=5, output="mask")
CHUNK = SHAPE.chunk(8)  # samples; training and inference alike, as InstanceNorm sees the chunk
