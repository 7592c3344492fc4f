"""Write the moving average of a checkpoint, or the mean of several, as fp16 weights that ship."""

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
    """Return the moving average: of a full checkpoint, a folder of `train.py`, or a file of it."""
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.is_dir():
        return load_file(path / "ema.safetensors")
    state: dict[str, dict[str, Tensor]] = torch.load(path, map_location="cpu", weights_only=True)
    return state["ema"]


def main() -> None:
    """Check the keys against the network, write, and print size and sha256."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "checkpoints", type=Path, nargs="+", help="--state file, --out folder or file in it"
    )
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    parts = [weights(path) for path in options.checkpoints]
    means = {key: torch.stack([part[key].float() for part in parts]).mean(0) for key in parts[0]}
    half = {key: tensor.half().contiguous() for key, tensor in means.items()}
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
