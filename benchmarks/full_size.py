"""A checkpoint of DrumSep's full size with weights of any value, for `sep bench`.

python benchmarks/full_size.py FOLDER
sep bench --model FOLDER/full.ckpt --model-config FOLDER/full.yaml --seconds 51.7 --no-baselines
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

VECTOR = Path(__file__).parents[1] / "tests/runtime/reference/mdx23c-drumsep-5stem.json"


def main(folder: Path) -> None:
    """Write `full.ckpt` and `full.yaml`; speed does not depend on what the weights are."""
    vector = json.loads(VECTOR.read_text(encoding="utf-8"))
    torch.manual_seed(0)
    state = {name: torch.randn(shape) * 0.02 for name, shape in vector["shapes"].items()}
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": state}, folder / "full.ckpt")
    (folder / "full.yaml").write_text(json.dumps(vector["config"]), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
