"""BS- and Mel-Band Roformer against the outputs of their original implementations."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from vectors import NAMES, REFERENCE, check, full_size, inputs, vector, weights

from sep_runtime.accel import operators
from sep_runtime.models.adopt import Uninitialised
from sep_runtime.nets.roformer import Roformer, RoformerShape, mel_ranges

VECTORS = [name for name in NAMES if "roformer" in name]
SMALL = {"stems": 1, "dim": 16, "depth": 1, "heads": 2, "dim_head": 8, "n_fft": 512, "hop": 128,
         "win": 512, "bands": (57, 100, 100)}  # fmt: skip


def shape_of(config, architecture):
    """Return the shape that a model section of the training tools' YAML says."""
    is_mel = architecture.startswith("mel")
    shared = config.get("use_shared_bias", False)
    return RoformerShape(
        stems=config["num_stems"],
        audio_channels=2 if config["stereo"] else 1,
        dim=config["dim"],
        depth=config["depth"],
        bands=tuple(config.get("freqs_per_bands", ())),
        mel_bands=config.get("num_bands", 0),
        sample_rate=config.get("sample_rate", 44100),
        heads=config["heads"],
        dim_head=config["dim_head"],
        time_depth=config["time_transformer_depth"],
        freq_depth=config["freq_transformer_depth"],
        linear_depth=config["linear_transformer_depth"],
        n_fft=config["stft_n_fft"],
        hop=config["stft_hop_length"],
        win=config["stft_win_length"],
        normalized=config["stft_normalized"],
        mask_layers=config["mask_estimator_depth"] + is_mel,
        mlp_factor=config["mlp_expansion_factor"],
        zero_dc=config.get("zero_dc", True) and not shared,
        skip=config["skip_connection"],
        pope=config.get("use_pope", False),
        shared_bias=shared,
    )


def network_of(name):
    facts, expected = vector(name)
    network = Roformer(shape_of(facts["config"], facts["architecture"])).eval()
    network.load_state_dict(weights(facts), strict=True)
    return network, facts, expected


@pytest.mark.parametrize("name", VECTORS)
def test_vector(name):
    network, facts, expected = network_of(name)
    mixes = inputs(facts, network.shape.audio_channels)
    with torch.inference_mode():
        fast = network(mixes)
        with operators.plain():
            plain = network(mixes)
    for way, output in (("fast", fast), ("plain", plain)):
        check(f"{name} ({way})", output, facts, expected)


@pytest.mark.parametrize(
    "name", ["bs-roformer-viperx-ep317", "bs-roformer-sw-6stem", "mel-band-roformer-kim"]
)
def test_keys_of_published_files(name):
    facts = full_size(name)
    with Uninitialised():
        network = Roformer(shape_of(facts["config"], facts["architecture"]))
    found = {key: list(value.shape) for key, value in network.state_dict().items()}
    assert found == facts["shapes"]


def test_bins_of_mel_bands():
    tables = json.loads((REFERENCE / "mel-bands.json").read_text())
    for key, table in tables.items():
        if "/" in key:
            rate, n_fft, count = map(int, key.split("/"))
            assert [[first, end - 1] for first, end in mel_ranges(count, n_fft, rate)] == table


def test_bins_without_a_band_are_refused():
    with pytest.raises(ValueError, match="without a band"):
        mel_ranges(200, 1024, 44100)


@pytest.mark.parametrize("samples", [257, 1000, 5001])
def test_any_length_and_items_of_a_batch_alone(samples):
    torch.manual_seed(0)
    network = Roformer(RoformerShape(**SMALL)).eval()
    mixes = torch.randn(3, 2, samples)
    mixes[1] = 0
    with torch.inference_mode():
        together = network(mixes)
        alone = torch.cat([network(mix.unsqueeze(0)) for mix in mixes])
    assert together.shape == (3, 1, 2, samples)
    assert torch.allclose(together, alone, atol=1e-6)
    assert not together[1].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16])
def test_half_precision_is_near(dtype):
    """Weights in half, but for norms and positions; spectra and masks in float32."""
    torch.manual_seed(0)
    network = Roformer(RoformerShape(**SMALL)).eval()
    mix = torch.randn(1, 2, 4000)
    with torch.inference_mode():
        exact = network(mix)
        for module in network.modules():
            if not getattr(module, "exact", False):
                for weight in module.parameters(recurse=False):
                    weight.data = weight.data.to(dtype)
        found = network(mix)
    assert found.dtype == torch.float32
    assert 0 < (found - exact).norm() / exact.norm() < 0.05


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"dim": 0}, "dim must be between"),
        ({"depth": 10**6}, "depth must be between"),
        ({"bands": (57, 100)}, "157 bins together, the spectrum has 257"),
        ({"bands": (257, 0)}, "a band has no bins"),
        ({"bands": ()}, "either bands or mel_bands"),
        ({"mel_bands": 60}, "either bands or mel_bands"),
        ({"hop": 300}, "do not fit"),
        ({"dim_head": 7}, "odd"),
        ({"linear_depth": 99}, "linear_depth"),
    ],
)
def test_shapes_that_cannot_be(wrong, told):
    with pytest.raises(ValueError, match=told):
        RoformerShape(**{**SMALL, **wrong})


def test_the_table_of_positions_is_the_files_own():
    network, facts, expected = network_of("bs-roformer-half-rotary")
    for module in network.modules():
        if hasattr(module, "freqs"):
            exponent = torch.arange(len(module.freqs)) / len(module.freqs)
            module.freqs.data = 10000.0**-exponent
    with torch.inference_mode():
        output = network(inputs(facts, 2))
    with pytest.raises(AssertionError):
        check("computed anew", output, facts, expected)


def test_a_shape_says_the_same_twice():
    shape = RoformerShape(**SMALL)
    assert dataclasses.replace(shape) == shape
    assert shape.ranges == ((0, 57), (57, 157), (157, 257))
    assert np.diff(shape.ranges).sum() == shape.bins
