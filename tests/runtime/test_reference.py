"""Both networks against the outputs of their original implementations."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import sep_models
from sep_runtime.models import larsnet
from sep_runtime.models.adopt import adopted
from sep_runtime.models.prepared import shape_of
from sep_runtime.models.running import Runner
from sep_runtime.models.settings import manifest_of
from sep_runtime.nets.tfc_tdf import TfcTdf, TfcTdfShape

REFERENCE = Path(__file__).parent / "reference"
TOLERANCE = 1e-4  # relative error


def vector(name):
    return json.loads((REFERENCE / f"{name}.json").read_text()), np.load(REFERENCE / f"{name}.npz")


def tensors(drawn):
    return {key: torch.from_numpy(np.asarray(value)) for key, value in drawn.items()}


def cut(output, slices):
    return np.concatenate([output[..., begin:end] for begin, end in slices], -1)


def error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize(
    "name",
    [
        "mdx23c-small",
        "mdx23c-target-batchnorm-relu",
        "mdx23c-groupnorm-elu",
        pytest.param("mdx23c-drumsep-5stem", marks=pytest.mark.slow),
    ],
)
def test_mdx23c(name, recipe):
    facts, arrays = vector(name)
    manifest = manifest_of(facts["config"], name)
    shape = shape_of(TfcTdfShape, manifest.network, len(manifest.outputs))
    weights = tensors(recipe.weights(facts["shapes"], facts["seed"]))
    network = adopted(lambda: TfcTdf(shape), [weights])
    seeds = [facts["seed"] * 100 + i for i in range(facts["batch"])]
    mixes = np.stack([recipe.noise(2, manifest.chunk, seed) for seed in seeds])
    with torch.inference_mode():
        output = network(torch.from_numpy(mixes)).numpy()
    assert list(output.shape) == facts["output_shape"]
    found = error(cut(output, facts["expected_slices"]), arrays["expected"])
    print(f"{name}: relative error {found:.2e}")
    assert found <= TOLERANCE
    level = np.sqrt(np.square(output, dtype=np.float64).mean(-1))
    assert error(level, arrays["rms"]) <= TOLERANCE


def lars(facts, recipe):
    weights = {}
    for i, stem in enumerate(facts["stems"]):
        drawn = tensors(recipe.weights(facts["shapes"], facts["seed"] * 10 + i))
        weights |= {f"{stem}.{key}": value for key, value in drawn.items()}
    return larsnet.build([weights], facts["stems"])


def streamed(model, mix, block):
    with torch.inference_mode():
        stream = model.stream()
        parts = [stream.push(part) for part in torch.from_numpy(mix).split(block, -1)]
        return torch.cat([*parts, stream.finish()], -1).numpy()


def at_work(masks, *, stems=("a",), batch=1):
    runner = Runner(lambda *_: masks, torch.device("cpu"), batch=batch)
    return larsnet.LarsNet(runner, replace(sep_models.find("larsnet"), stems=stems))


SLOW = [pytest.param(f"larsnet-{name}", marks=pytest.mark.slow) for name in ("short", "long")]


@pytest.mark.parametrize("name", ["larsnet-tiny", *SLOW])
@pytest.mark.parametrize("wiener", [False, True])
def test_larsnet(name, wiener, recipe):
    facts, arrays = vector(name)
    masks = lars(facts, recipe)
    masks.wiener = facts["wiener_exponent"] if wiener else None
    model = at_work(masks, stems=facts["stems"])
    mix = recipe.noise(2, facts["samples"], facts["seed"])
    output = streamed(model, mix, 44100)
    assert output.shape == (len(facts["stems"]), 2, facts["samples"])
    found = {
        stem: error(
            cut(stems, facts["expected_slices"]), arrays[f"{stem}_wiener" if wiener else stem]
        )
        for stem, stems in zip(facts["stems"], output, strict=True)
    }
    print(f"{name}{' wiener' if wiener else ''}: relative error {max(found.values()):.2e}")
    assert max(found.values()) <= TOLERANCE


class _Half(torch.nn.Module):
    """Stands in for a U-Net where only the streaming is tested: a mask of one half."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, magnitude):
        return torch.full_like(magnitude, 1.0) * self.weight


@pytest.mark.parametrize(
    "samples", [1, 2, 1023, 1024, 2047, 2048, 2049, 3072, 5000, 524288, 527000]
)
@pytest.mark.parametrize("batch", [1, 2])
def test_larsnet_streams_the_same_whatever_the_blocks(samples, batch, noise):
    model = at_work(larsnet.Masks([_Half()]), batch=batch)
    mix = noise(2, samples)
    whole = streamed(model, mix, samples)
    assert whole.shape == (1, 2, samples)
    for block in (997, 4096):
        if samples <= 5000 or block == 4096:
            assert np.abs(streamed(model, mix, block) - whole).max() <= 1e-6


def test_larsnet_of_half_masks_is_half_the_mix(noise):
    model = at_work(larsnet.Masks([_Half()]))
    mix = noise(2, 30000)
    # The top bin's mask is 0: white noise loses the 2049th part of its power.
    assert error(streamed(model, mix, 4096)[0], mix / 2) < 0.04
