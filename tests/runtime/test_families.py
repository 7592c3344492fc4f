"""Settings and weights of networks that sep does not run: told by their name, not by a key."""

import pickle

import pytest
import torch
import yaml

from sep_protocol import Model
from sep_protocol.errors import ModelError, UsageError
from sep_runtime.models import separators, settings

CPU = torch.device("cpu")
AUDIO = {"chunk_size": 352800, "dim_f": 1024, "hop_length": 441, "n_fft": 2048}
TRAINING = {"instruments": ["vocals", "other"], "target_instrument": "vocals"}

SETTINGS = [
    ("Mel-Band Roformer", {"model": {"dim": 384, "depth": 6, "num_bands": 60, "heads": 8}}),
    ("BS Roformer", {"model": {"dim": 512, "depth": 12, "freqs_per_bands": [2, 2, 4]}}),
    ("Conformer", {"model": {"dim": 256, "depth": 6, "freq_conformer_depth": 1, "num_bands": 60}}),
    ("SCNet", {"model": {"sources": ["a"], "dims": [4, 32], "band_SR": [0.2, 0.8]}}),
    ("SCNet", {"model": {"dims": [4, 32], "bandsplit_ratios": [0.2, 0.8], "n_fft": 4096}}),
    ("BandIt", {"name": "x", "model": {"band_specs": "musical", "n_bands": 64}}),
    ("BandIt", {"cls": "Bandit", "kwargs": {"band_type": "musical"}}),
    ("Apollo", {"model": {"sr": 44100, "win": 20, "feature_dim": 256, "layer": 6}}),
    ("segmentation", {"model": {"encoder_name": "x", "num_channels": 128, "num_subbands": 8}}),
    ("Demucs", {"model": "htdemucs", "htdemucs": {"channels": 48}}),
    ("Demucs", {"models": ["955717e8"], "segment": 44}),
    ("VR", {"bins": 672, "band": {1: {"sr": 11025, "hl": 128}}}),
]


@pytest.mark.parametrize(("family", "raw"), SETTINGS)
def test_settings_of_another_network(tiny, tmp_path, family, raw):
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump({"audio": AUDIO, "training": TRAINING, **raw}))
    with pytest.raises(ModelError, match=rf"settings .* {family}.*MDX23C") as caught:
        separators.load(Model(name="x", checkpoint=str(tiny[0]), settings=str(path)), CPU)
    assert str(path) in caught.value.message
    assert "--model" in caught.value.command
    assert "--" not in caught.value.hint


def test_settings_of_nobody_are_told_by_what_is_missing(tmp_path):
    (tmp_path / "x.yaml").write_text(
        yaml.safe_dump({"audio": AUDIO, "training": TRAINING, "model": {"act": "gelu"}})
    )
    with pytest.raises(ModelError, match=r"model.num_channels is missing"):
        settings.read(tmp_path / "x.yaml", "x")


WEIGHTS = [
    (
        "Roformer",
        "layers.0.0.layers.0.0.to_qkv.weight band_split.to_features.0 mask_estimators.0.to_freqs",
    ),
    ("SCNet", "encoder.0.SDlayer.convs.0.weight separation_net.dp_modules.0.a.weight"),
    ("SCNet", "sd_blocks.0.a.weight dualpath_blocks.layers.0.a.weight"),
    ("Demucs", "encoder.0.conv.weight tencoder.0.conv.weight tdecoder.0.conv_tr.weight"),
    ("Demucs", "encoder.0.0.weight decoder.0.0.weight lstm.lstm.weight_ih_l0"),
    ("BandIt", "band_split.norm_fc_modules.0.norm.weight"),
    (
        "VR",
        "stg1_low_band_net.enc1.conv1.conv.0.weight stg3_full_band_net.enc1.conv1.conv.0.weight",
    ),
    ("MDX-Net", "first_conv.0.weight ds_dense.0.tfc.H.0.0.weight us_dense.0.tfc.H.0.0.weight"),
    ("Open-Unmix", "input_mean output_scale lstm.weight_ih_l0"),
]


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize(("family", "keys"), WEIGHTS)
def test_weights_of_another_network(tiny, tmp_path, family, keys, prefix):
    path = tmp_path / "x.ckpt"
    torch.save({"state_dict": {prefix + key: torch.ones(2) for key in keys.split()}}, path)
    for yaml_file in (str(tiny[1]), None):
        with pytest.raises(ModelError, match=rf"{family}.*MDX23C") as caught:
            separators.load(Model(name="x", checkpoint=str(path), settings=yaml_file), CPU)
        assert not isinstance(caught.value, UsageError)


def test_one_network_of_larsnet(tiny, larsnet_files):
    with pytest.raises(ModelError, match="LarsNet"):
        separators.load(Model(name="x", checkpoint=str(larsnet_files["kick"])), CPU)


def test_a_pickled_demucs(tmp_path):
    """As its authors publish it: with its class, which is not loaded."""
    path = tmp_path / "955717e8.th"
    body = pickle.dumps({"state": {}, "klass": torch.nn.Linear}, 2)
    torch.save({"klass": torch.nn.Linear, "state": {}}, path, _use_new_zipfile_serialization=False)
    old, new = b"ctorch.nn.modules.linear\nLinear\n", b"cdemucs.htdemucs\nHTDemucs\n"
    assert old in body
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(ModelError, match=r"is a Demucs.*MDX23C"):
        separators.load(Model(name="x", checkpoint=str(path)), CPU)
