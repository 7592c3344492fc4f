"""Reference vectors: weights and inputs by recipe, outputs of the original implementations."""

import gzip
import importlib.util
import json
from functools import cache
from pathlib import Path

import numpy as np
import torch

REFERENCE = Path(__file__).parent / "reference"
NAMES = sorted(path.stem for path in REFERENCE.glob("*.npz"))
TOLERANCE = 1e-4  # relative error

_SPEC = importlib.util.spec_from_file_location("recipe", REFERENCE / "recipe.py")
recipe = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(recipe)


def vector(name):
    """Return a vector's facts and its expected outputs."""
    path = REFERENCE / f"{name}.json"
    return json.loads(path.read_text()), np.load(path.with_suffix(".npz"))


@cache
def _shapes():
    return json.loads(gzip.decompress((REFERENCE / "shapes.json.gz").read_bytes()))


def full_size(name):
    """Return the facts of a published configuration, with the shapes of its keys."""
    return _shapes()[name]


def weights(facts, seed=None):
    """Return a state dict by the recipe."""
    seed = facts["seed"] if seed is None else seed
    drawn = recipe.weights(facts["shapes"], seed, facts.get("rotary", "float32"))
    return {key: torch.from_numpy(np.asarray(value)) for key, value in drawn.items()}


def inputs(facts, channels):
    """[batch, channels, samples] as the vector was made with."""
    gain = np.float32(facts["gain"])
    seeds = [facts["seed"] * 100 + i for i in range(facts["batch"])]
    mixes = np.stack([recipe.noise(channels, facts["samples"], seed) * gain for seed in seeds])
    if facts["silent"]:
        begin, end = facts["silent"]
        mixes[..., begin:end] = 0
    return torch.from_numpy(mixes)


def check(what, output, facts, expected):
    """Compare the slices and the levels that are known; print the relative error."""
    found = output.numpy()
    cut = np.concatenate([found[..., begin:end] for begin, end in facts["expected_slices"]], -1)
    cut = cut.reshape(expected["expected"].shape)
    off = error(cut, expected["expected"])
    print(f"{what}: relative error {off:.1e}")
    assert off <= TOLERANCE


def error(found, expected):
    """Return the relative error."""
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)
