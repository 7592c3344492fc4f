"""Whole passes against those of the tools that the networks come from."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from vectors import REFERENCE, check, recipe, vector, weights

from sep_models import Manifest
from sep_runtime.baselines import apply_model, demix
from sep_runtime.models import separators
from sep_runtime.models.adopt import adopted
from sep_runtime.nets.htdemucs import HTDemucsShape
from sep_runtime.streams.overlap import open_stream
from sep_runtime.streams.single import level_of

CPU = torch.device("cpu")


def network_of(name):
    """Return a manifest's architecture, network table and number of stems."""
    facts, _ = vector(name)
    config = facts["config"]
    if facts["architecture"] == "bs_roformer":
        table = {
            "dim": config["dim"],
            "depth": config["depth"],
            "bands": config["freqs_per_bands"],
            "heads": config["heads"],
            "dim_head": config["dim_head"],
            "n_fft": config["stft_n_fft"],
            "hop": config["stft_hop_length"],
            "win": config["stft_win_length"],
            "mask_layers": config["mask_estimator_depth"],
            "mlp_factor": config["mlp_expansion_factor"],
        }
        return "bs-roformer", table, config["num_stems"]
    names = {each.name for each in dataclasses.fields(HTDemucsShape)} - {"stems", "segment"}
    table = {key: config[key] for key in names & set(config) if config[key] is not None}
    if config["use_train_segment"]:
        table["segment"] = int(config["segment"] * config["samplerate"])
    return "htdemucs", table, len(config["sources"])


def run(name, *, normalize=False, block=5000, batch=1):
    facts = json.loads((REFERENCE / "inference" / f"{name}.json").read_text())
    expected = np.load(REFERENCE / "inference" / f"{name}.npz")
    of = facts["weights_of"]
    of = of if isinstance(of, str) else of[0]
    architecture, table, stems = network_of(of)
    manifest = Manifest(
        name=name,
        summary="",
        expects="a whole song",
        stems=tuple(f"stem {i}" for i in range(stems)),
        architecture=architecture,
        sample_rate=44100,
        chunk=facts.get("chunk_size") or table["segment"],
        overlap=facts.get("num_overlap") or 1 / (1 - facts["overlap"]),
        scheme="msst" if facts["scheme"] == "msst-generic" else facts["scheme"],
        rank=0,
        licence="",
        network=table,
    )
    prepared = separators.CHUNKED[architecture](manifest, manifest.overlap, batch)
    network = adopted(prepared.empty, [weights(vector(of)[0])])
    ramp = np.linspace(0.3, 1.2, facts["samples"], dtype=np.float32)
    mix = recipe.noise(2, facts["samples"], facts["seed"]) * ramp + np.float32(0.03)
    mean, deviation = level_of([mix]) if normalize else (0.0, 1.0)
    seen = torch.from_numpy(mix).sub(mean).div(deviation)
    stream = open_stream(
        network, prepared.cut, stems=stems, channels=2, device=CPU, free=prepared.free
    )
    with torch.inference_mode():
        parts = [*(stream.push(each) for each in seen.split(block, -1)), stream.finish()]
    stems = torch.cat(parts, -1) * deviation + mean
    assert list(stems.shape) == facts["output_shape"]
    return stems, facts, expected, (network, prepared, seen)


@pytest.mark.parametrize("block", [777, 60000])
@pytest.mark.parametrize("name", ["msst-generic", "msst-generic-short", "msst-demucs"])
def test_msst(name, block):
    stems, facts, expected, _ = run(name, block=block)
    check(name, stems, facts, expected)


@pytest.mark.parametrize("block", [777, 60000])
def test_demucs_with_its_normalisation_of_the_song(block):
    stems, facts, expected, _ = run("demucs-split", normalize=True, block=block)
    check("demucs-split", stems, facts, expected)


@pytest.mark.parametrize("name", ["msst-generic", "demucs-split"])
def test_a_batch_changes_nothing(name):
    one, *_ = run(name)
    three, *_ = run(name, batch=3)
    assert (one - three).norm() <= 1e-5 * one.norm()


def test_what_is_measured_beside_ours_gives_the_same():
    """The baselines of `sep bench` do the same work in those tools' way."""
    stems, _, _, (network, prepared, seen) = run("demucs-split")
    cut = prepared.cut
    with torch.inference_mode():
        found, chunks = apply_model(
            network, seen, cut.chunk, cut.hop, free=prepared.free, device=CPU
        )
    assert chunks == 4
    assert torch.allclose(found, stems, atol=1e-6)
    stems, _, _, (network, prepared, seen) = run("msst-generic")
    cut = prepared.cut
    with torch.inference_mode():
        found, chunks = demix(network, seen, cut.chunk, cut.hop, batch=1, device=CPU)
    assert chunks == 27
    assert torch.allclose(found, stems, atol=1e-6)
