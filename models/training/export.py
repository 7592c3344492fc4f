"""Write the moving average of a checkpoint, or the mean of several, as fp16 weights that ship.

The encoder, which hears, and the decoder, which names, may take unlike shares of later checkpoints:
new sounds need the first (surgical fine-tuning: Lee et al., 2023), names of the few real kits are
forgotten in the second.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import torch
from mini import SHAPE
from safetensors.torch import load_file, save_file
from torch import Tensor

from sep_runtime.nets.tfc_tdf import TfcTdf

HEARING = ("first_conv", "encoder_blocks", "bottleneck_block")
LOGITS = "final_conv.2.weight"


def weights(path: Path) -> dict[str, Tensor]:
    """Return the moving average: of a full checkpoint, a folder of `train.py`, or a file of it."""
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.is_dir():
        return load_file(path / "ema.safetensors")
    state: dict[str, dict[str, Tensor]] = torch.load(path, map_location="cpu", weights_only=True)
    return state["ema"]


def mixed(first: Tensor, others: list[Tensor], share: float | None) -> Tensor:
    """Return `first` with a share of the mean of the others; None: all count alike."""
    if share is None:
        return torch.stack([first, *others]).mean(0)
    return torch.lerp(first, torch.stack(others).mean(0), share)


def main() -> None:
    """Check the keys against the network, write, and print size and sha256."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "checkpoints", type=Path, nargs="+", help="--state file, --out folder or file in it"
    )
    parser.add_argument("file", type=Path)
    shares = "share of the later checkpoints' mean in the %s; without it all count alike"
    parser.add_argument("--encoder", type=float, help=shares % "encoder and bottleneck")
    parser.add_argument("--decoder", type=float, help=shares % "decoder and last layers")
    parser.add_argument("--sharpen", type=float, default=1.0, help="factor of the masks' logits")
    options = parser.parse_args()
    if len(options.checkpoints) == 1 and (options.encoder, options.decoder) != (None, None):
        parser.error("shares need a second checkpoint")
    network = TfcTdf(SHAPE)
    parts = [weights(path) for path in options.checkpoints]
    means = {}
    for key in network.state_dict():  # what a run's network had beside it is left out
        share = options.encoder if key.startswith(HEARING) else options.decoder
        first, *others = [part[key].float() for part in parts]
        means[key] = mixed(first, others, share)
    means[LOGITS] *= options.sharpen
    half = {key: tensor.half().contiguous() for key, tensor in means.items()}
    broken = [key for key, tensor in half.items() if not tensor.isfinite().all()]
    if broken:
        raise SystemExit(f"not finite in fp16: {', '.join(broken)}")
    network.load_state_dict({key: tensor.float() for key, tensor in half.items()})
    options.file.parent.mkdir(parents=True, exist_ok=True)
    save_file(half, options.file)
    digest = hashlib.sha256(options.file.read_bytes()).hexdigest()
    print(f"{options.file}: {options.file.stat().st_size} bytes, sha256 {digest}")


if __name__ == "__main__":
    main()
