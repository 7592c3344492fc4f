"""Settings and weights of networks that sep does not run: told by their name, not by a key."""

import pytest
import torch
import yaml

from sep_protocol.errors import ModelError, UsageError
from sep_runtime.models import settings
from sep_runtime.models.understand import understand

AUDIO = {"chunk_size": 352800, "dim_f": 1024, "hop_length": 441, "n_fft": 2048}
TRAINING = {"instruments": ["vocals", "other"], "target_instrument": "vocals"}

SETTINGS = [
    ("a Mel-Band Roformer (dim 384, depth 6)", {"dim": 384, "depth": 6, "num_bands": 60}),
    ("a BS-Roformer (dim 512, depth 12)", {"dim": 512, "depth": 12, "freqs_per_bands": [2, 2, 4]}),
    ("a Roformer (dim 64, depth 2)", {"dim": 64, "depth": 2, "freq_transformer_depth": 1}),
    ("a Conformer", {"dim": 256, "depth": 6, "freq_conformer_depth": 1}),
    ("an SCNet (dims 4/32)", {"sources": ["a"], "dims": [4, 32], "band_SR": [0.2, 0.8]}),
    ("an unofficial SCNet", {"dims": [4, 32], "bandsplit_ratios": [0.2, 0.8]}),
    ("a BandIt network", {"band_specs": "musical", "n_bands": 64}),
    ("an Apollo", {"sr": 44100, "win": 20, "feature_dim": 256, "layer": 6}),
    ("a network of segmentation models", {"encoder_name": "x", "num_channels": 128}),
]
WHOLE = [
    ("a BandIt network", {"cls": "Bandit", "kwargs": {"band_type": "musical"}}),
    ("an HTDemucs (channels 48)", {"model": "htdemucs", "htdemucs": {"channels": 48}}),
    ("an HDemucs (channels 48)", {"model": "hdemucs", "hdemucs": {"channels": 48}}),
    ("a Demucs of the waveform alone", {"model": "demucs", "demucs": {"depth": "x"}}),
    ("a network that sep does not know", {"model": "torchseg"}),
    ("a bag of Demucs models", {"models": ["955717e8"], "segment": 44}),
    ("a VR network", {"bins": 672, "band": {1: {"sr": 11025, "hl": 128}}}),
]


@pytest.mark.parametrize(
    ("family", "raw"), [*((each, {"model": model}) for each, model in SETTINGS), *WHOLE]
)
def test_settings_of_another_network(tiny, tmp_path, family, raw):
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump({"audio": AUDIO, "training": TRAINING, **raw}))
    with pytest.raises(ModelError) as caught:
        understand(tiny[0], path, "x")
    assert caught.value.message == (
        f"the settings {path} are those of {family}, "
        "but tiny.ckpt is an MDX23C (channels 16, scales 3, 5 stems)"
    )
    assert "settings" in caught.value.hint
    assert "--" not in caught.value.hint


def test_settings_of_nobody_are_told_by_what_is_missing(tmp_path):
    (tmp_path / "x.yaml").write_text(
        yaml.safe_dump({"audio": AUDIO, "training": TRAINING, "model": {"act": "gelu"}})
    )
    with pytest.raises(ModelError, match=r"model.num_channels is missing"):
        settings.read(tmp_path / "x.yaml", "x")


WEIGHTS = [
    (
        "a Roformer",
        "layers.0.0.layers.0.0.to_qkv.weight band_split.to_features.0 mask_estimators.0.to_freqs",
    ),
    ("an SCNet", "encoder.0.SDlayer.convs.0.weight separation_net.dp_modules.0.a.weight"),
    ("an unofficial SCNet", "sd_blocks.0.a.weight dualpath_blocks.layers.0.a.weight"),
    (
        "a hybrid Demucs",
        "encoder.0.conv.weight tencoder.0.conv.weight tdecoder.0.conv_tr.weight",
    ),
    (
        "a Demucs of the waveform alone",
        "encoder.0.0.weight decoder.0.0.weight lstm.lstm.weight_ih_l0",
    ),
    ("a BandIt network", "band_split.norm_fc_modules.0.norm.weight"),
    (
        "a VR network",
        "stg1_low_band_net.enc1.conv1.conv.0.weight stg3_full_band_net.enc1.conv1.conv.0.weight",
    ),
    ("an MDX-Net", "first_conv.0.weight ds_dense.0.tfc.H.0.0.weight us_dense.0.tfc.H.0.0.weight"),
    ("an Open-Unmix", "input_mean output_scale lstm.weight_ih_l0"),
]


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize(("family", "keys"), WEIGHTS)
def test_weights_of_another_network(tiny, tmp_path, family, keys, prefix):
    path = tmp_path / "x.ckpt"
    torch.save({"state_dict": {prefix + key: torch.ones(2) for key in keys.split()}}, path)
    for yaml_file in (tiny[1], None):
        with pytest.raises(ModelError, match=rf"{family}.*(MDX23C|but no whole one|does not run)"):
            understand(path, yaml_file, "x")


def test_one_network_of_larsnet(tiny, larsnet_files):
    with pytest.raises(ModelError, match="one of LarsNet's networks"):
        understand(larsnet_files["kick"], None, "x")


def test_weights_of_nobody(tmp_path, tiny):
    torch.save({"net": {"a.b": torch.ones(2), "a.c": torch.ones(2)}}, tmp_path / "x.ckpt")
    for yaml_file in (tiny[1], None):
        with pytest.raises(ModelError, match=r"network that sep does not know, with 'a.b'.*MDX23C"):
            understand(tmp_path / "x.ckpt", yaml_file, "x")


def test_a_whole_network_that_needs_settings(tiny):
    with pytest.raises(UsageError, match=r"tiny.ckpt is an MDX23C \(channels 16.*needs its setti"):
        understand(tiny[0], None, "x")
