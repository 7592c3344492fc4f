"""Write a checkpoint's moving average as the fp16 weights that ship."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import torch
from mini import SHAPE
from safetensors.torch import load_file, save_file
from torch import Tensor

from sep_runtime.nets.tfc_tdf import TfcTdf


def weights(path: Path) -> dict[str, Tensor]:
    """Return the moving average of a full checkpoint, or of the folder that `train.py` wrote."""
    if path.is_dir():
        return load_file(path / "ema.safetensors")
    state: dict[str, dict[str, Tensor]] = torch.load(path, map_location="cpu", weights_only=True)
    return state["ema"]


def main() -> None:
    """Check the keys against the network, write, and print size and sha256."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="--state file or --out folder of train.py")
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    half = {key: tensor.half().contiguous() for key, tensor in weights(options.checkpoint).items()}
    broken = [key for key, tensor in half.items() if not tensor.isfinite().all()]
    if broken:
        raise SystemExit(f"not finite in fp16: {', '.join(broken)}")
    TfcTdf(SHAPE).load_state_dict({key: tensor.float() for key, tensor in half.items()})
    options.file.parent.mkdir(parents=True, exist_ok=True)
    save_file(half, options.file)
    digest = hashlib.sha256(options.file.read_bytes()).hexdigest()
    print(f"{options.file}: {options.file.stat().st_size} bytes, sha256 {digest}")


if __name__ == "__main__":
    main()
