"""A checkpoint of DrumSep's full size with the reference vectors' weights, for `sep bench`.

python benchmarks/full_size.py FOLDER
sep bench --model FOLDER/full.ckpt --model-config FOLDER/full.yaml --seconds 51.7 --no-baselines
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import torch

REFERENCE = Path(__file__).parents[1] / "tests/runtime/reference"
VECTOR = REFERENCE / "mdx23c-drumsep-5stem.json"


def main(folder: Path) -> None:
    """Write `full.ckpt` and `full.yaml`; the weights are drawn, so the stems are of no use."""
    vector = json.loads(VECTOR.read_text(encoding="utf-8"))
    drawn = runpy.run_path(str(REFERENCE / "recipe.py"))["weights"](
        vector["shapes"], vector["seed"]
    )
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(
        {"state_dict": {k: torch.from_numpy(v) for k, v in drawn.items()}}, folder / "full.ckpt"
    )
    (folder / "full.yaml").write_text(json.dumps(vector["config"]), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
