"""The baselines are what they say they are: exact with an identity network, and dear."""

import pytest
import torch

import sep_runtime
from sep_protocol import Bench
from sep_protocol.errors import UsageError
from sep_runtime.bench import bench, demix, uvr
from sep_runtime.streams.overlap import Chunking, OverlapAdd


def identity(x):
    return x.unsqueeze(1)


@pytest.mark.parametrize("samples", [900, 1000, 1001, 5000, 12345])
@pytest.mark.parametrize("overlap", [2, 4])
def test_demix_gives_an_identity_back(samples, overlap):
    mix = torch.randn(2, samples)
    found, count = demix(identity, mix, 1000, 1000 // overlap)
    assert found.shape == (1, 2, samples)
    # Its fades begin at zero: where one chunk alone covers a sample, the field divides 0 by 0.
    wrong = (found[0] - mix).abs() > 1e-4
    assert wrong.sum() <= 2 * count
    assert count >= samples // (1000 // overlap)


@pytest.mark.parametrize("samples", [1000, 1001, 5000, 12345])
def test_uvr_gives_an_identity_back(samples):
    mix = torch.randn(2, samples)
    found, count = uvr(identity, mix, 1000)
    assert (found[0] - mix).abs().max() < 1e-5
    assert count > 8 * (samples // 1000)


def test_ours_needs_the_fewest_chunks():
    mix = torch.randn(2, 30 * 1000)
    stream = OverlapAdd(
        identity, Chunking(chunk=1000, hop=500), stems=1, channels=2, device=torch.device("cpu")
    )
    stream.push(mix)
    stream.finish()
    assert stream.chunks < demix(identity, mix, 1000, 500)[1] < uvr(identity, mix, 1000)[1]


@pytest.mark.slow
def test_a_bench_measures_every_scheme(tiny):
    model = sep_runtime.load("tiny", checkpoint=str(tiny[0]), settings=str(tiny[1]), device="cpu")
    told = []
    found = bench(model, Bench(seconds=2.0, runs=1), told.append)
    assert [each.detail for each in told] == [
        *("", "sep, run 1 of 1", "demix, run 1 of 1", "uvr, run 1 of 1")
    ]
    assert [each.scheme for each in found.measured] == ["sep", "demix", "uvr"]
    ours = found.measured[0]
    assert ours.ratio == 1
    assert ours.real_time == pytest.approx(2.0 / ours.seconds)
    assert found.peak_memory > 1 << 20
    alone = bench(model, Bench(seconds=2.0, runs=1, baselines=False), told.append)
    assert [each.scheme for each in alone.measured] == ["sep"]


def test_larsnet_has_no_such_baselines(tmp_path):
    import safetensors.torch

    import sep_models
    from sep_runtime.nets.unet import UNet

    state = {
        f"{stem}.{key}": value.clone()
        for stem in sep_models.find("larsnet").stems
        for key, value in UNet().state_dict().items()
    }
    safetensors.torch.save_file(state, tmp_path / "weights.safetensors")
    model = sep_runtime.load("larsnet", folder=str(tmp_path), device="cpu")
    with pytest.raises(UsageError, match="baselines"):
        bench(model, Bench(seconds=0.1, runs=1), print)
