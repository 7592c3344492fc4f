"""Weights to a safetensors file, one tensor after the other.

The library's own writer refuses tensors that share memory, as the position tables of a Roformer do,
and its older versions make all bytes before they write the first (`benchmarks/conversion.py`). The
form: eight bytes that say how long the header is, the header in JSON, the tensors' bytes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from sep_runtime.models.states import State

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, 112)  # of a disk; the last is Windows' own
ALIGNED = 8  # bytes, of what follows the header
PIECE = 1 << 24  # bytes that are written, and hashed, at once
NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write(path: Path, state: State) -> str:
    """Write a new file and wait until the disk has it; return its SHA-256 in hex.

    Raises OSError. What a dead process left there goes first: it may be a link to another file.
    """
    # The widest types first, so that each tensor begins at a multiple of its own.
    order = sorted(state, key=lambda key: (-state[key].element_size(), key))
    digest = hashlib.sha256()
    path.unlink(missing_ok=True)
    with path.open("xb", buffering=0) as file:

        def put(data: memoryview) -> None:
            while data:
                piece = data[: file.write(data[:PIECE])]
                digest.update(piece)
                data = data[len(piece) :]

        put(memoryview(_header([(key, state[key]) for key in order])))
        for key in order:
            put(_bytes(state[key]))
        os.fsync(file.fileno())
    return digest.hexdigest()


def _header(tensors: list[tuple[str, Tensor]]) -> bytes:
    begun, told = 0, {}
    for key, tensor in tensors:
        end = begun + tensor.numel() * tensor.element_size()
        told[key] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begun, end],
        }
        begun = end
    text = json.dumps(told, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNED)
    return len(text).to_bytes(8, "little") + text


def _bytes(tensor: Tensor) -> memoryview:
    plain = tensor.detach().contiguous().reshape(-1)
    return plain.view(torch.uint8).numpy().data
