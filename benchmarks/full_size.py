"""Models of the catalogue in full size with weights by recipe, for `sep bench`.

python benchmarks/full_size.py HOME MODEL...
SEP_HOME=HOME sep bench --model MODEL --seconds 12 --baselines

The weights are drawn as those of the reference vectors are, so the stems are of no use.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

import sep_models
from sep_runtime.models import separators
from sep_runtime.models.adopt import Uninitialised

if TYPE_CHECKING:
    from sep_models import Manifest

RECIPE = Path(__file__).parents[1] / "tests/runtime/reference/recipe.py"
SEED = 1


def drawn(manifest: Manifest) -> dict[str, torch.Tensor]:
    """Return weights for a model's network."""
    prepared = separators.CHUNKED[manifest.architecture](manifest, manifest.overlap, None)
    with Uninitialised():
        state = prepared.empty().state_dict()
    sizes = {key: list(value.shape) for key, value in state.items()}
    weights = runpy.run_path(str(RECIPE))["weights"](sizes, SEED)
    return {key: torch.from_numpy(value).contiguous() for key, value in weights.items()}


def main(home: Path, names: list[str]) -> None:
    """Write the weights of every model where `sep models pull` would."""
    for name in names:
        manifest = sep_models.find(name)
        folder = home / "models" / manifest.name
        folder.mkdir(parents=True, exist_ok=True)
        save_file(drawn(manifest), folder / sep_models.WEIGHTS)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
