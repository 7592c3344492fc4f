"""SCNet against the outputs of its original implementations, and at the lengths that they avoid."""

from dataclasses import fields, replace

import pytest
import torch
from vectors import NAMES, check, error, full_size, inputs, vector, weights

from sep_runtime.accel import operators
from sep_runtime.models.adopt import Uninitialised
from sep_runtime.models.placing import placed
from sep_runtime.nets.scnet import Scnet, ScnetShape

VECTORS = [name for name in NAMES if name.startswith("scnet")]
FULL = {
    "scnet-small": ScnetShape(stems=4),
    "scnet-xl-ihf": ScnetShape(
        stems=4,
        dims=(4, 64, 128, 256),
        band_SR=(0.23, 0.37, 0.4),
        band_stride=(1, 4, 4),
        band_kernel=(3, 4, 4),
        conv_depths=(3, 3, 3),
        num_dplayer=8,
    ),
}
TRAN = {"tran_heads": 2, "tran_dim_head": 8, "tran_rotary_embedding_dim": 8}
VARIANTS = [{}, {"masked": True}, {"whiten": True}, TRAN]
SMALL = ScnetShape(stems=2, dims=(4, 8, 12, 16), nfft=1024, win_size=1024, hop_size=256)


@pytest.fixture(autouse=True)
def no_gradients():
    """And one thread: of such small steps several would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)


def shape_of(facts):
    """Return the shape that a vector's settings mean."""
    known = {field.name for field in fields(ScnetShape)}
    given = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in facts["config"].items()
        if key in known
    }
    return ScnetShape(
        stems=len(facts["config"]["sources"]),
        masked=facts["architecture"] == "scnet_masked",
        whiten=facts["config"].get("normalise_inside", False),
        **given,
    )


def made(shape, seed=7):
    torch.manual_seed(seed)
    with torch.inference_mode(mode=False):
        return Scnet(shape).eval()


@pytest.mark.parametrize("name", VECTORS)
def test_vector(name):
    facts, expected = vector(name)
    network = Scnet(shape_of(facts)).eval()
    network.load_state_dict(weights(facts), strict=True)
    mixes = inputs(facts, network.shape.audio_channels)
    fast = network(mixes)
    with operators.plain():
        plain = network(mixes)
    for way, output in (("fast", fast), ("plain", plain)):
        assert list(output.shape) == facts["output_shape"]
        check(f"{name} ({way})", output, facts, expected)
        level = output.double().square().mean(-1).sqrt().numpy()
        assert error(level, torch.tensor(facts["rms"]).numpy()) <= 1e-4


@pytest.mark.parametrize("name", FULL)
def test_keys_of_published_files(name):
    with Uninitialised():
        network = Scnet(FULL[name])
    found = {key: list(value.shape) for key, value in network.state_dict().items()}
    assert found == full_size(name)["shapes"]


@pytest.mark.parametrize("samples", [1, 256, 257, 512, 513, 768, 1023, 5000])
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_any_length(samples, variant, noise):
    network = made(replace(SMALL, **variant))
    mix = torch.from_numpy(noise(2, samples)).unsqueeze(0)
    output = network(mix)
    assert output.shape == (1, 2, 2, samples)
    assert output.dtype == torch.float32
    assert torch.isfinite(output).all()


def test_what_follows_a_mix_is_zeros(noise):
    mix = torch.from_numpy(noise(2, 1300)).unsqueeze(0)
    network = made(SMALL)
    assert SMALL.padded(1300) == 1792
    assert SMALL.padded(1500) == 1792
    longer = torch.nn.functional.pad(mix, (0, 200))
    assert torch.equal(network(longer)[..., :1300], network(mix))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_items_of_a_batch_do_not_hear_each_other(variant, noise):
    network = made(replace(SMALL, **variant))
    loud = torch.from_numpy(noise(2, 3000))
    quiet = torch.from_numpy(noise(2, 3000, seed=1)) * 1e-3
    both = network(torch.stack((loud, quiet))).numpy()
    for item, alone in zip(both, (loud, quiet), strict=True):
        assert error(item, network(alone.unsqueeze(0))[0].numpy()) <= 1e-5


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_silence_gives_numbers(variant):
    network = made(replace(SMALL, **variant))
    assert torch.isfinite(network(torch.zeros(1, 2, 4000))).all()


def test_masks_of_silence_are_silent():
    network = made(replace(SMALL, masked=True))
    assert not network(torch.zeros(1, 2, 4000)).any()


def test_whitened_spectra_follow_the_level(noise):
    network = made(replace(SMALL, whiten=True))
    mix = torch.from_numpy(noise(2, 4000)).unsqueeze(0)
    assert error(network(mix * 0.25).numpy() * 4, network(mix).numpy()) <= 1e-3


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_fast_is_plain(variant, noise):
    network = made(replace(SMALL, expand=2, conv_kernel=5, **variant))
    mixes = torch.from_numpy(noise(4, 9000)).view(2, 2, 9000)
    with operators.plain():
        plain = network(mixes)
    assert error(network(mixes).numpy(), plain.numpy()) <= 1e-5


def test_a_norm_of_what_lies_far_from_zero(noise):
    network = made(SMALL)
    layer = network.separation_net.dp_modules[0]
    x = torch.randn(2, 16, 7, 12) + 30
    with operators.plain():
        plain = layer(x)
    fast = layer.turning(x.permute(3, 0, 2, 1).contiguous()).permute(1, 3, 2, 0)
    assert error((fast - x).numpy(), (plain - x).numpy()) <= 1e-3


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_half_precision_keeps_norms_and_transforms_exact(variant, noise):
    shape = replace(SMALL, **variant)
    network = made(shape)
    half = placed(network, lambda: Scnet(shape), torch.device("cpu"), torch.bfloat16)
    kinds = {key: value.dtype for key, value in half.state_dict().items()}
    assert kinds["separation_net.dp_modules.0.norm_layers.0.weight"] == torch.float32
    assert kinds["encoder.0.conv_modules.0.layers.0.0.weight"] == torch.float32
    assert kinds["encoder.0.globalconv.weight"] == torch.bfloat16
    mix = torch.from_numpy(noise(2, 5000)).unsqueeze(0)
    found = half(mix)
    assert found.dtype == torch.float32
    assert error(found.numpy(), network(mix).numpy()) <= 0.03


def test_it_can_be_trained():
    with torch.inference_mode(mode=False), torch.enable_grad():
        network = Scnet(SMALL)
        network(torch.randn(1, 2, 3000)).square().mean().backward()
        assert all(value.grad is not None for value in network.parameters())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"stems": 0}, "stems must be between 1 and 32"),
        ({"dims": (4,)}, "count of dims"),
        ({"dims": (4, 8, 1 << 20)}, "each of dims must be between 1 and 2048"),
        ({"dims": (2, 8, 12)}, "the first of dims must be 4, not 2"),
        ({"audio_channels": 1}, "the first of dims must be 2, not 4"),
        ({"compress": 10}, "compress 10 is more than"),
        ({"nfft": 1023, "win_size": 1023}, "nfft must be even"),
        ({"win_size": 512}, "win_size must be nfft 1024"),
        ({"hop_size": 1000}, "more than half of nfft"),
        ({"band_SR": (0.9995, 0.0004, 0.0001)}, "too few bins"),
        ({"band_SR": (0.5, 0.5)}, "3 shares"),
        ({"band_SR": (0.2, 0.0, 0.8)}, "3 shares above 0"),
        ({"band_SR": (0.2, 0.3, 0.4)}, "must sum to 1, not 0.9"),
        ({"band_SR": (float("nan"), 0.5, 0.5)}, "3 shares above 0"),
        ({"band_stride": (1, 4)}, "count of band_stride must be 3"),
        ({"band_stride": (1, 0, 4)}, "each of band_stride"),
        ({"band_kernel": (3, 2, 16)}, "band_kernel of 2 with a band_stride of 4 loses bins"),
        ({"conv_depths": (3, 2, 0)}, "each of conv_depths"),
        ({"conv_kernel": 4}, "conv_kernel must be odd"),
        ({"num_dplayer": 5}, "num_dplayer must be even"),
        ({"expand": 100}, "expand must be between 1 and 8"),
        ({"masked": True, "whiten": True}, "gives masks"),
        ({"tran_heads": -1}, "tran_heads must be between 0 and 64"),
        ({"tran_heads": 2, "tran_dim_head": 32}, "must be tran_dim_head"),
        ({"tran_heads": 2, "tran_dim_head": 33, "tran_rotary_embedding_dim": 33}, "even number"),
    ],
    ids=str,
)
def test_shapes_that_cannot_be(wrong, words):
    with pytest.raises(ValueError, match=words):
        replace(SMALL, **wrong)
