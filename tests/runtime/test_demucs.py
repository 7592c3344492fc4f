"""HDemucs and HTDemucs against the outputs of their original implementations, and by themselves."""

import dataclasses
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sep_runtime.accel import operators
from sep_runtime.models.adopt import Uninitialised
from sep_runtime.models.identify_demucs import demucs_names
from sep_runtime.models.placing import placed
from sep_runtime.nets import demucs_blocks
from sep_runtime.nets.hdemucs import HDemucs, HDemucsShape
from sep_runtime.nets.htdemucs import HTDemucs, HTDemucsShape

REFERENCE = Path(__file__).parent / "reference"
TOLERANCE = 1e-4  # relative error
CPU = torch.device("cpu")
VECTORS = [
    "htdemucs-4stem",
    "htdemucs-6stem",
    "htdemucs-free-length",
    "hdemucs-mmi",
    "hdemucs-long-lstm",
    "hdemucs-old-padding",
]
FREE = ["htdemucs-free-length", "hdemucs-mmi", "hdemucs-old-padding"]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small tensors on threads that others keep busy are mostly waiting."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def facts_of(name):
    return json.loads((REFERENCE / f"{name}.json").read_text())


def shape_of(facts):
    """The shape of a vector's or a published network's settings."""
    config, is_old = facts["config"], facts["architecture"] == "hdemucs"
    kind = HDemucsShape if is_old else HTDemucsShape
    names = {field.name for field in dataclasses.fields(kind)} - {"segment"}
    options = {k: v for k, v in config.items() if k in names and v is not None}
    if config.get("use_train_segment"):
        options["segment"] = int(config["segment"] * config["samplerate"])
    return kind(stems=len(config["sources"]), **options)


def empty(shape):
    return HDemucs(shape) if isinstance(shape, HDemucsShape) else HTDemucs(shape)


@pytest.fixture(scope="module")
def network(recipe):
    """The network of a vector, with its weights; with a dtype, placed in it."""
    made = {}

    def make(name, dtype=torch.float32):
        if name not in made:
            facts = facts_of(name)
            drawn = recipe.weights(facts["shapes"], facts["seed"], facts["rotary"])
            with Uninitialised():
                built = empty(shape_of(facts))
            state = {key: torch.from_numpy(value) for key, value in drawn.items()}
            built.load_state_dict(state, strict=True, assign=True)
            made[name] = built.eval().requires_grad_(requires_grad=False)
        whole = made[name]
        return placed(whole, lambda: empty(whole.shape), CPU, dtype)

    return make


def mix_of(recipe, facts):
    drawn = [
        recipe.noise(facts["config"]["audio_channels"], facts["samples"], facts["seed"] * 100 + i)
        for i in range(facts["batch"])
    ]
    return torch.from_numpy(np.stack(drawn) * np.float32(facts["gain"]))


def noise_of(recipe, samples, batch=1, seed=1):
    return torch.from_numpy(np.stack([recipe.noise(2, samples, seed + i) for i in range(batch)]))


def run(built, mix):
    with torch.inference_mode():
        return built(mix)


def plainly(built, mix):
    with operators.plain():
        return run(built, mix)


def drawn_for(recipe, shape):
    """A network with weights of its own."""
    built = empty(shape).eval()
    drawn = recipe.weights({key: v.shape for key, v in built.state_dict().items()}, 1)
    built.load_state_dict({key: torch.from_numpy(value) for key, value in drawn.items()})
    return built


def error(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("way", [run, plainly])
@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name, way, network, recipe):
    facts, arrays = facts_of(name), np.load(REFERENCE / f"{name}.npz")
    output = way(network(name), mix_of(recipe, facts)).numpy()
    assert list(output.shape) == facts["output_shape"]
    assert output.dtype == np.float32
    cut = np.concatenate([output[..., a:b] for a, b in facts["expected_slices"]], -1)
    found = error(cut, arrays["expected"])
    print(f"{name}: relative error {found:.2e}")
    assert found <= TOLERANCE / 5
    level = np.sqrt(np.square(output, dtype=np.float64).mean(-1))
    assert error(level, facts["rms"]) <= TOLERANCE


@pytest.mark.parametrize("bins", [2, 3, 8])
@pytest.mark.parametrize("name", VECTORS)
def test_plain_and_fast_agree(name, bins, network, recipe, monkeypatch):
    monkeypatch.setattr(demucs_blocks, "BLOCK", 512)
    monkeypatch.setattr(demucs_blocks, "FEWEST", bins)
    mix = mix_of(recipe, facts_of(name))
    assert error(run(network(name), mix), plainly(network(name), mix)) <= 1e-5


@pytest.mark.parametrize(
    "options",
    [
        {"context": 0},
        {"context": 2},
        {"context_enc": 1},
        {"norm_starts": 64},  # layers of one branch go up by blocks, too
        {"stride": 2, "kernel_size": 4},
        {"dconv_mode": 2, "dconv_depth": 4},
        {"dconv_mode": 0},
    ],
)
@pytest.mark.parametrize("kind", [HDemucsShape, HTDemucsShape])
def test_plain_and_fast_agree_whatever_the_shape(kind, options, recipe, monkeypatch):
    monkeypatch.setattr(demucs_blocks, "BLOCK", 512)
    small = {"channels": 8, "nfft": 1024, "depth": 3}
    if kind is HDemucsShape:
        deep = {"channels": 16, "growth": 1, "depth": 7} if "stride" in options else {"depth": 4}
        small |= {"nfft": 256, **deep}
    built = drawn_for(recipe, kind(stems=2, **small, **options))
    mix = noise_of(recipe, 5001, batch=2)
    fast, plain = run(built, mix), plainly(built, mix)
    # How much a network makes of roundings is its own: deep ones go beyond 1e-5 on some processors.
    exact = plainly(built.double(), mix.double())
    assert error(fast, exact) <= 3 * error(plain, exact) + 1e-6


@pytest.mark.parametrize("name", ["htdemucs", "htdemucs-6s", "hdemucs-mmi"])
def test_published_networks_have_their_keys_and_shapes(name):
    facts = json.loads(gzip.decompress((REFERENCE / "shapes.json.gz").read_bytes()))[name]
    with Uninitialised():
        state = empty(shape_of(facts)).state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == facts["shapes"]
    assert sum(value.numel() for value in state.values()) == facts["elements"]


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize("samples", [1, 100, 255, 256, 257, 1023, 1024, 1025, 4097])
def test_any_length(name, samples, network, recipe):
    built = network(name)
    output = run(built, noise_of(recipe, samples))
    assert output.shape == (1, built.shape.stems, 2, samples)
    assert output.isfinite().all()


def test_a_mono_sample(recipe):
    shape = HDemucsShape(stems=1, audio_channels=1, channels=8, nfft=64, depth=2)
    built = drawn_for(recipe, shape)
    assert run(built, torch.ones(1, 1, 1)).isfinite().all()


@pytest.mark.parametrize("name", ["htdemucs-4stem", "htdemucs-6stem"])
def test_a_shorter_mix_is_one_with_silence_behind_it(name, network, recipe):
    built = network(name)
    segment = built.shape.segment
    assert not built.shape.free
    mix = noise_of(recipe, 9000)
    padded = torch.nn.functional.pad(mix, (0, segment - 9000))
    assert torch.equal(run(built, mix), run(built, padded)[..., :9000])
    with pytest.raises(ValueError, match=f"{segment + 1} samples are more than the {segment}"):
        built(noise_of(recipe, segment + 1))


@pytest.mark.parametrize("name", FREE)
def test_lengths_are_free_where_no_segment_is_named(name, network):
    assert network(name).shape.free


@pytest.mark.parametrize("name", VECTORS)
def test_items_of_a_batch_know_nothing_of_each_other(name, network, recipe):
    built = network(name)
    mix = noise_of(recipe, 12000, batch=3) * torch.tensor([1.0, 1e-3, 0.3]).view(3, 1, 1)
    together = run(built, mix)
    for i in range(3):
        assert error(run(built, mix[i : i + 1])[0], together[i]) <= 1e-5


@pytest.mark.parametrize("name", VECTORS)
def test_silence_gives_numbers(name, network):
    assert run(network(name), torch.zeros(2, 2, 20000)).isfinite().all()


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(name, dtype, network, recipe):
    """The body in half precision, what is around it in float32."""
    mix = mix_of(recipe, facts_of(name))
    output = run(network(name, dtype), mix)
    assert output.dtype == torch.float32
    found = error(output, run(network(name), mix))
    print(f"{name} {dtype}: relative error {found:.2e}")
    assert found <= (0.05 if dtype == torch.float16 else 0.3)


def in_torchaudio(key):
    for there, here in (
        ("time_encoder.", "tencoder."),
        ("time_decoder.", "tdecoder."),
        ("freq_encoder.", "encoder."),
        ("freq_decoder.", "decoder."),
    ):
        if key.startswith(here):
            return there + key.removeprefix(here)
    return key


def test_weights_of_torchaudio(network, recipe):
    built = network("hdemucs-mmi")
    own = built.state_dict()
    theirs = {in_torchaudio(key): value for key, value in own.items()}
    assert "freq_encoder.4.dconv.layers.0.3.lstm.weight_ih_l0" in theirs
    assert "time_encoder.4.conv.weight" in theirs
    theirs |= {f"time_encoder.4.norm1.{part}": torch.ones(64) for part in ("weight", "bias")}
    found = {new: theirs[old] for old, new in demucs_names(theirs).items()}
    assert found.keys() == own.keys()
    assert all(found[key] is theirs[in_torchaudio(key)] for key in own)


def test_names_that_are_right_stay(network):
    own = network("hdemucs-mmi").state_dict()
    assert demucs_names(own) == dict(zip(own, own, strict=True))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"stems": 0}, "stems must be between 1 and 32, not 0"),
        ({"nfft": 2048}, "nfft must be four times a power of stride 4, not 2048"),
        ({"nfft": 4095}, "nfft must be a multiple of 8, not 4095"),
        ({"depth": 4}, "depth must be 5 at least, where one bin is left, not 4"),
        ({"kernel_size": 4}, "kernel_size must be twice an even stride, not 4 of 4"),
        ({"stride": 3, "kernel_size": 6}, "kernel_size must be twice an even stride, not 6 of 3"),
        ({"time_stride": 3}, "time_stride must be even, not 3"),
        ({"channels_time": 24}, "channels_time must be 0 or as channels, 48: both branches meet"),
        ({"depth": 12}, "channels 48 and growth 2 make 98304 channels"),
        ({"dconv_comp": 64}, "dconv_comp 64 leaves nothing of 48 channels"),
        ({"dconv_comp": 1000, "channels": 1000}, "channels 1000 and growth 2 make 32000 channels"),
        ({"dconv_comp": 36}, "dconv_comp 36 leaves channels that 4 heads cannot share"),
        ({"norm_groups": 7}, "norm_groups 7 does not divide the channels of every layer"),
        ({"freq_emb": float("nan")}, "freq_emb must be between 0 and 100, not nan"),
    ],
)
def test_shapes_that_hdemucs_refuses(options, told):
    with pytest.raises(ValueError, match=told):
        HDemucsShape(**{"stems": 4} | options)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"t_layers": 0}, "t_layers must be between 1 and 64, not 0"),
        ({"nfft": 1024}, "nfft 1024 must have more than 8 bins left in the last of 4 layers"),
        ({"nfft": 4104}, "nfft 4104 must have more than 8 bins left in the last of 4 layers"),
        ({"bottom_channels": 514}, "channels must be a multiple of 4, not 514"),
        ({"t_heads": 7}, "t_heads 7 does not divide the transformer's 384 channels"),
        ({"segment": -1}, "segment must be between 0 and 67108864, not -1"),
        ({"channels_time": 24}, "channels_time must be 0 or as channels, 48: both branches meet"),
    ],
)
def test_shapes_that_htdemucs_refuses(options, told):
    with pytest.raises(ValueError, match=told):
        HTDemucsShape(**{"stems": 4} | options)


def test_layers_of_one_branch_may_take_longer_steps(recipe):
    shape = HDemucsShape(stems=2, channels=8, nfft=256, depth=5, norm_starts=64, time_stride=4)
    built, mix = drawn_for(recipe, shape), noise_of(recipe, 5001)
    assert error(run(built, mix), plainly(built, mix)) <= 1e-5


@pytest.mark.parametrize("options", [{"freq_emb": 0.0}, {"dconv_mode": 0}, {"norm_starts": 0}])
@pytest.mark.parametrize("kind", [HDemucsShape, HTDemucsShape])
def test_options_that_leave_modules_out(kind, options, recipe):
    small = {"channels": 8, "nfft": 256 if kind is HDemucsShape else 1024, "depth": 3}
    built = drawn_for(recipe, kind(stems=2, **small | options))
    keys = list(built.state_dict())
    assert any(key.startswith("freq_emb") for key in keys) == ("freq_emb" not in options)
    assert any("dconv" in key for key in keys) == ("dconv_mode" not in options)
    assert run(built, noise_of(recipe, 3000)).isfinite().all()
