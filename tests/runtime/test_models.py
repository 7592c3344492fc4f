"""Weights and settings from strangers: loaded exactly, or refused with the reason."""

import json
import pickle

import pytest
import safetensors.torch
import torch

import sep_models
from sep_protocol import Model
from sep_protocol.errors import ModelError, UsageError
from sep_runtime.models import separators, settings, weights

CPU = torch.device("cpu")


def load(checkpoint, yaml, **options):
    model = Model(name="mine", checkpoint=str(checkpoint), settings=str(yaml))
    return separators.load(model, CPU, **options)


def test_checkpoint_with_settings(tiny):
    loaded = load(*tiny)
    assert loaded.separator.stems == ("kick", "snare", "toms", "hihat", "cymbals")
    assert loaded.separator.cut.chunk == 32256
    assert loaded.separator.cut.hop == 16128
    assert loaded.manifest.expects == "drums"


@pytest.mark.parametrize("wrap", ["none", "state_dict", "state", "model_state_dict", "safetensors"])
def test_every_wrapper(tiny, tmp_path, wrap):
    checkpoint, yaml = tiny
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    path = tmp_path / ("x.safetensors" if wrap == "safetensors" else "x.ckpt")
    if wrap == "safetensors":
        safetensors.torch.save_file({k: v.half() for k, v in state.items()}, path)
    else:
        torch.save(state if wrap == "none" else {wrap: state, "epoch": 3}, path)
    network = load(path, yaml).runner.network
    assert network.first_conv.weight.dtype == torch.float32


class _Bomb:
    def __reduce__(self):
        return (print, ("this must never run",))


def test_a_pickle_that_runs_code_is_refused(tiny, tmp_path, capsys):
    path = tmp_path / "bomb.ckpt"
    torch.save({"state_dict": {"x": _Bomb()}}, path)
    with pytest.raises(ModelError, match="more than weights"):
        load(path, tiny[1])
    path.write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(ModelError):
        load(path, tiny[1])
    assert "never run" not in capsys.readouterr().out


def test_damaged_weights(tiny, tmp_path):
    whole = tiny[0].read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 10):
        path = tmp_path / "cut.ckpt"
        path.write_bytes(whole[:size])
        with pytest.raises(ModelError):
            load(path, tiny[1])
    (tmp_path / "x.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(ModelError, match="damaged"):
        weights.read(tmp_path / "x.safetensors")
    with pytest.raises(ModelError):
        load(tmp_path / "nope.ckpt", tiny[1])


def test_weights_of_another_network_are_told_in_one_line(tiny, tmp_path):
    raw = json.loads(tiny[1].read_text())
    raw["model"]["growth"] = 16
    (tmp_path / "x.yaml").write_text(json.dumps(raw))
    with pytest.raises(ModelError, match=r"of other shape, first|growth 16.*growth 8") as caught:
        load(tiny[0], tmp_path / "x.yaml")
    assert "\n" not in caught.value.message


YAML = """
audio: {chunk_size: 32256, dim_f: 1024, dim_t: 64, hop_length: 512, n_fft: 2048,
        num_channels: 2, sample_rate: 44100, min_mean_abs: 0.0}
model: {act: gelu, bottleneck_factor: 4, growth: 8, norm: InstanceNorm, num_blocks_per_scale: 2,
        num_channels: 16, num_scales: 3, num_subbands: 4, scale: !!python/tuple [2, 2]}
training: {instruments: !!python/tuple [kick, snare, toms, hh, cymbals], target_instrument: null}
inference: {batch_size: 1, chunk_size: 64512, normalize: true}
"""


def test_yaml_of_the_training_tools(tmp_path):
    (tmp_path / "x.yaml").write_text(YAML)
    manifest = settings.read(tmp_path / "x.yaml", "x")
    assert manifest.stems == ("kick", "snare", "toms", "hihat", "cymbals")
    assert manifest.chunk == 64512  # inference overrides audio
    assert manifest.normalize
    assert manifest.network["scale"] == (2, 2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a list",
        "audio: {}",
        "a: [unclosed",
        "!!python/object/apply:os.system ['echo bad']",
        YAML.replace("num_scales: 3", "num_scales: many"),
    ],
)
def test_yaml_of_something_else(tmp_path, text):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ModelError):
        settings.read(tmp_path / "x.yaml", "x")


def test_chunk_that_does_not_fit_is_told_with_one_that_does(tiny, tmp_path):
    raw = json.loads(tiny[1].read_text())
    raw["audio"]["chunk_size"] = 44100
    (tmp_path / "x.yaml").write_text(json.dumps(raw))
    with pytest.raises(ModelError, match="44100") as caught:
        load(tiny[0], tmp_path / "x.yaml")
    assert "32256" in caught.value.hint


def test_overlap(tiny):
    assert load(*tiny, overlap=4).separator.cut.hop == 8064
    for overlap in (0.5, 0, 1e9):
        with pytest.raises(UsageError, match="overlap must be at"):
            load(*tiny, overlap=overlap)
    with pytest.raises(UsageError, match="batch must be from 1"):
        load(*tiny, batch=0)


def test_checkpoint_that_nobody_knows_needs_settings(tiny):
    with pytest.raises(UsageError, match="settings"):
        separators.load(Model(name="x", checkpoint=str(tiny[0])), CPU)


def test_larsnet_from_a_folder(tmp_path):
    from sep_runtime.nets.unet import UNet

    net = UNet()
    state = {
        f"{stem}.{key}": value.clone()
        for stem in sep_models.find("larsnet").stems
        for key, value in net.state_dict().items()
    }
    safetensors.torch.save_file(state, tmp_path / "weights.safetensors")
    model = Model(name="larsnet", folder=str(tmp_path))
    separator = separators.load(model, CPU).separator
    with torch.inference_mode():
        stream = separator.stream()
        first = stream.push(torch.zeros(2, 5000))
        assert torch.cat((first, stream.finish()), -1).shape == (5, 2, 5000)
    with pytest.raises(UsageError, match="overlap"):
        separators.load(model, CPU, overlap=2.0)


def test_bundled_weights_are_checked(tmp_path, monkeypatch):
    manifest = sep_models.find("mdx23c-mini")
    whole = (sep_models.folder_of(manifest.name) / sep_models.WEIGHTS).read_bytes()
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    (tmp_path / "weights.safetensors").write_bytes(flipped)
    with pytest.raises(ModelError, match="damaged"):
        separators.load(Model(name=manifest.name, folder=str(tmp_path)), CPU)


def test_missing_folder(tmp_path):
    with pytest.raises(ModelError, match="not installed"):
        separators.load(Model(name="larsnet", folder=str(tmp_path)), CPU)


def test_a_checkpoint_of_the_catalogue_is_known_by_its_hash(tiny, monkeypatch):
    from dataclasses import replace

    manifest = settings.read(tiny[1], "known")
    source = sep_models.Source(file="tiny.ckpt", sha256=weights.digest(tiny[0]))
    known = replace(manifest, sources=(source,))
    monkeypatch.setattr(sep_models, "catalogue", lambda: (known,))
    loaded = separators.load(Model(name="tiny", checkpoint=str(tiny[0])), CPU)
    assert loaded.manifest.name == "known"
