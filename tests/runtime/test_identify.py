"""What a file of weights is, told from its keys: every network that people publish, and variants.

Then settings of each family beside weights of each other one: one sentence that names both.
"""

import importlib.util
from pathlib import Path

import pytest
import torch
import yaml

from sep_protocol.codec import decode
from sep_protocol.errors import ModelError, UsageError
from sep_runtime.models import identify
from sep_runtime.models.understand import understand
from sep_runtime.nets.hdemucs import HDemucsShape
from sep_runtime.nets.htdemucs import HTDemucsShape
from sep_runtime.nets.roformer import RoformerShape
from sep_runtime.nets.scnet import ScnetShape

spec = importlib.util.spec_from_file_location("published", Path(__file__).parent / "published.py")
published = importlib.util.module_from_spec(spec)
spec.loader.exec_module(published)

SHAPES = {
    "bs-roformer": RoformerShape,
    "mel-band-roformer": RoformerShape,
    "htdemucs": HTDemucsShape,
    "hdemucs": HDemucsShape,
    "scnet": ScnetShape,
}


def table(name):
    return {key: tuple(shape) for key, shape in published.vector(name)["shapes"].items()}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("bs-roformer-viperx-ep317", "a BS-Roformer (dim 512, depth 12, one stem)"),
        ("bs-roformer-sw-6stem", "a BS-Roformer (dim 256, depth 12, 6 stems)"),
        ("mel-band-roformer-kim", "a Mel-Band Roformer (dim 384, depth 6, one stem)"),
        ("htdemucs", "an HTDemucs (channels 48, depth 4, 4 stems)"),
        ("htdemucs-6s", "an HTDemucs (channels 48, depth 4, 6 stems)"),
        ("hdemucs-mmi", "an HDemucs (channels 48, depth 6, 4 stems)"),
        ("scnet-small", "an SCNet (dims 4/32/64/128, 4 stems)"),
        ("scnet-xl-ihf", "an SCNet (dims 4/64/128/256, 4 stems)"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "model."])
def test_published_files(name, sentence, prefix):
    shapes = published.full_size()[name]["shapes"]
    found = identify.of_shapes({prefix + key: tuple(shape) for key, shape in shapes.items()})
    assert found.sentence == sentence


def test_the_drum_separator():
    found = identify.of_shapes(table("mdx23c-drumsep-5stem"))
    assert found.sentence == "an MDX23C (channels 128, scales 5, 5 stems)"


ROFORMER = "bs-roformer-1stem"
MEL = "mel-band-roformer-1stem"
HT = "htdemucs-6stem"
FIRST = "layers.0.0.layers.0.0."
VARIANTS = [
    (ROFORMER, {"a.lora_A.weight": (4, 4)}, "a LoRA adapter"),
    (ROFORMER, {"base_model.model.layers.0.weight": (4, 4)}, "a LoRA adapter"),
    (ROFORMER, {"layers.0.0.norm.gamma": (32,)}, "a Roformer of an unknown kind"),
    (ROFORMER, {f"layers.1.0.layers.0.0.{'to_value_residual_mix'}.weight": (4, 32)}, "value resid"),
    (ROFORMER, {f"{FIRST}branch.norm.gamma": (32,), f"{FIRST}static_alpha": (4, 5)}, "hyper-conn"),
    (ROFORMER, {"mask_estimators.0.segm.0.weight": (4, 4)}, "HyperACE"),
    (ROFORMER, {"mask_estimators.0.to_freqs.0.0.fno.w": (4, 4)}, "Fourier"),
    (ROFORMER, {"mask_estimators.0.to_freqs.0.0.1.weight": (4, 4)}, "Fourier"),
    (ROFORMER, {"cos_emb_time": (1151, 64), "shared_qkv_bias": (9,)}, "first conversion"),
    (ROFORMER, {"layers.0.0.layers.0.ff1.ff.net.0.gamma": (32,)}, "a Conformer"),
    (ROFORMER, {"layers.0.0.layers.0.conv.net.2.weight": (32, 32)}, "a Conformer"),
    (MEL, {"layers.0.0.layers.0.0.sinks": (4,)}, "a variant of a Mel-Band Roformer"),
    (HT, {"encoder.0.layers.0.conv.weight": (8, 4, 8, 1)}, "multi_freqs"),
    (HT, {"encoder.0.conv.weight": (8, 2, 8, 1)}, "magnitudes"),
    (HT, {"encoder.0.conv.weight": (8, 16, 8, 1)}, "sub-bands"),
    ("hdemucs-long-lstm", {"encoder.0.conv.weight": (8, 2, 8, 1)}, "an HDemucs on magnitudes"),
]


@pytest.mark.parametrize(("name", "more", "called"), VARIANTS)
def test_variants_are_named_and_not_run(name, more, called):
    found = identify.of_shapes({**table(name), **more})
    assert called in found.called
    assert found.architecture is None


@pytest.mark.parametrize(
    ("keys", "called"),
    [
        ("encoder.0.0.weight decoder.0.0.weight lstm.lstm.weight_ih_l0", "waveform alone"),
        ("sd_blocks.0.a.weight dualpath_blocks.layers.0.a.weight", "an unofficial SCNet"),
        ("encoder.0.conv.weight decoder.0.conv_tr.weight encoder.0.dconv.layers.0.0.weight", "spe"),
        ("BN.0.weight net.0.band_net.a net.0.seq_net.blocks.0", "an Apollo"),
        ("nothing.of.anybody", None),
    ],
)
def test_networks_that_sep_does_not_run(keys, called):
    found = identify.of_shapes(dict.fromkeys(keys.split(), (2, 2)))
    assert called is None if found is None else called in found.called


@pytest.mark.parametrize("name", published.FAMILIES.values())
def test_a_part_that_is_missing_is_told_and_no_shape_of_a_stranger_raises(name):
    """Every key away, then every shape another: an answer each time."""
    shapes = table(name)
    for key in list(shapes)[::23]:
        without = identify.of_shapes({each: shapes[each] for each in shapes if each != key})
        assert without is None or without.called
        for odd in ((), (0,), (0, 0, 0, 0), (1,), (1, 1, 1, 1), (1 << 40, 1)):
            found = identify.of_shapes({**shapes, key: odd})
            assert found is None or found.sentence.isprintable()


def test_a_whole_network_is_preferred_to_a_part():
    whole = {key: torch.empty(0) for key in ("a", "b")}
    part = {"tencoder.0.conv.weight": torch.empty(4, 2, 8)}
    assert identify.of([whole]) is None
    assert not identify.of([part]).whole
    full = {key: torch.empty(1).expand(shape) for key, shape in table(HT).items()}
    assert identify.of([part, full]).architecture == "htdemucs"


# Settings and weights together


@pytest.fixture
def write(tmp_path, recipe):
    """Write a checkpoint, and settings of a document: paths."""

    def make(weights, document=None):
        path = tmp_path / "weights.ckpt"
        torch.save(published.state(recipe, weights) if isinstance(weights, str) else weights, path)
        if document is None:
            return path, None
        settings = tmp_path / "settings.yaml"
        settings.write_text(yaml.safe_dump(document))
        return path, settings

    return make


EVERY = [
    *("bs-roformer-1stem", "bs-roformer-4stem-62bands", "bs-roformer-6stem-shared-bias"),
    *("bs-roformer-half-rotary", "bs-roformer-pope", "bs-roformer-quiet"),
    *("mel-band-roformer-1stem", "mel-band-roformer-4096", "mel-band-roformer-4stem"),
    *("htdemucs-4stem", "htdemucs-6stem", "htdemucs-free-length"),
    *("hdemucs-long-lstm", "hdemucs-mmi", "hdemucs-old-padding"),
    *("scnet-small", "scnet-masked", "scnet-tran", "scnet-xl-ihf"),
]


def expected(name):
    """The shape of a vector, from its own arguments."""
    found = published.vector(name)
    config, kind = found["config"], found["architecture"].replace("_", "-")
    if kind.startswith("scnet"):
        kept = {key: value for key, value in config.items() if key != "sources"}
        tran = {"tran_heads": 0, **{k: v for k, v in kept.items() if k.startswith("tran_")}}
        raw = {**kept, **tran, "masked": kind == "scnet-masked", "stems": len(config["sources"])}
        return decode(ScnetShape, raw)
    if kind in ("htdemucs", "hdemucs"):
        train = config.get("use_train_segment")
        samples = int(config["segment"] * config["samplerate"])
        raw = {**config, "stems": len(config["sources"]), "segment": samples if train else 0}
        raw["channels_time"] = config["channels_time"] or 0
        raw["norm_starts"] = min(config["norm_starts"], config["depth"])
        return decode(SHAPES[kind], raw)
    mel = kind.startswith("mel")
    return RoformerShape(
        stems=config["num_stems"],
        audio_channels=2 if config["stereo"] else 1,
        dim=config["dim"],
        depth=config["depth"],
        bands=() if mel else tuple(config["freqs_per_bands"]),
        mel_bands=config["num_bands"] if mel else 0,
        heads=config["heads"],
        dim_head=config["dim_head"],
        time_depth=config["time_transformer_depth"],
        freq_depth=config["freq_transformer_depth"],
        linear_depth=config["linear_transformer_depth"],
        n_fft=config["stft_n_fft"],
        hop=config["stft_hop_length"],
        win=config["stft_win_length"],
        normalized=config["stft_normalized"],
        mask_layers=config["mask_estimator_depth"] + mel,
        mlp_factor=config["mlp_expansion_factor"],
        zero_dc=config["zero_dc"],
        skip=config["skip_connection"],
        pope=config.get("use_pope", False),
        shared_bias=config.get("use_shared_bias", False),
    )


@pytest.mark.parametrize("name", EVERY)
def test_settings_and_file_give_the_networks_shape(write, name):
    manifest = understand(*write(name, published.settings(name)), "x").manifest
    shape = decode(
        SHAPES[manifest.architecture], {**manifest.network, "stems": len(manifest.outputs)}
    )
    assert shape == expected(name)


@pytest.mark.parametrize("name", EVERY)
def test_what_the_file_tells_need_not_be_said(write, name):
    """Without all that can be read from the keys, the network is the same."""
    document = published.settings(name)
    table = document[document["model"]] if document["model"] == "htdemucs" else document["model"]
    if isinstance(table, str):
        table = document[table]
    for key in (
        *("dim", "depth", "heads", "dim_head", "freqs_per_bands", "num_stems", "dims"),
        *("mask_estimator_depth", "mlp_expansion_factor", "use_pope", "use_shared_bias"),
        *("time_transformer_depth", "linear_transformer_depth", "stereo", "tran_heads"),
        *("channels", "nfft", "bottom_channels", "t_layers", "dconv_mode", "dconv_comp"),
        *("dconv_lstm", "dconv_attn", "growth", "norm_starts", "band_kernel", "conv_depths"),
    ):
        if key != "nfft" or document["model"] in ("htdemucs", "hdemucs"):
            table.pop(key, None)
    manifest = understand(*write(name, document), "x").manifest
    shape = decode(
        SHAPES[manifest.architecture], {**manifest.network, "stems": len(manifest.outputs)}
    )
    assert shape == expected(name)


@pytest.mark.parametrize("told", published.FAMILIES)
@pytest.mark.parametrize("given", published.FAMILIES)
def test_settings_of_each_beside_weights_of_each(write, given, told):
    document = published.settings(published.FAMILIES[told])
    paths = write(published.FAMILIES[given], document)
    if given == told:
        assert understand(*paths, "x").manifest.architecture == given.lower().replace(" ", "-")
        return
    with pytest.raises(ModelError) as caught:
        understand(*paths, "x")
    message = caught.value.message
    assert f"settings.yaml are those of a{'n' * (told[0] in 'HS')} {told} (" in message
    assert f"but weights.ckpt is a{'n' * (given[0] in 'HS')} {given} (" in message
    assert "channels 2," not in message  # of audio
    assert len(message.replace(str(paths[1]), "")) < 200


@pytest.mark.parametrize("given", published.FAMILIES)
def test_without_settings_it_is_told_what_the_file_is_and_what_is_not_in_it(write, given):
    path, _ = write(published.FAMILIES[given])
    with pytest.raises(UsageError, match=rf"weights.ckpt is an? {given} \(.*\): it needs its sett"):
        understand(path, None, "x")


@pytest.mark.parametrize(
    ("name", "where", "value", "told"),
    [
        (ROFORMER, "model.dim", 512, r"BS-Roformer \(dim 512\), but weights.ckpt is one of dim 32"),
        (ROFORMER, "model.depth", 12, r"\(depth 12\), but weights.ckpt is one of depth 2"),
        (ROFORMER, "model.heads", 8, r"\(heads 8\), but weights.ckpt is one of heads 4"),
        (ROFORMER, "model.freqs_per_bands", [2] * 30, "freqs_per_bands 2/2/2/2/2/2/2/2/..."),
        (ROFORMER, "model.stft_n_fft", 2048, r"\(n_fft 2048\), but .* of n_fft 1024"),
        (ROFORMER, "model.stft_n_fft", 1 << 40, "stft_n_fft must be 64 to 65536"),
        (ROFORMER, "model.stft_hop_length", 0, "stft_hop_length must be 1"),
        (ROFORMER, "model.stft_hop_length", 5000, "stft_hop_length must be 1 to 1024"),
        (ROFORMER, "model.new_idea", 3, "model.new_idea is not known"),
        (ROFORMER, "model.use_new_idea", True, "model.use_new_idea is not known"),
        (ROFORMER, "model.zero_dc", "yes please", "true or false"),
        (ROFORMER, "audio.chunk_size", 512, "too short for stft_n_fft 1024"),
        (ROFORMER, "inference.num_overlap", 0, "overlap must be at least 1"),
        (ROFORMER, "inference.num_overlap", 10**9, "overlap must be"),
        (ROFORMER, "training.target_instrument", None, "gives one stem, and they name 2 inst"),
        (MEL, "model.num_bands", 64, r"\(mel_bands 64\), but weights.ckpt is one of mel_bands 60"),
        (MEL, "model.sample_rate", 48000, "mel bands of .* sample_rate 48000 are not those"),
        (HT, "htdemucs.channels", 48, r"HTDemucs \(channels 48\), but .* of channels 8"),
        (HT, "htdemucs.nfft", 4096, r"\(nfft 4096\), but weights.ckpt is one of nfft 2048"),
        (HT, "htdemucs.t_emb", "cape", "t_emb is 'cape', and sep runs it as 'sin' alone"),
        (HT, "htdemucs.multi_freqs", [0.1], "multi_freqs is a list"),
        (HT, "htdemucs.cac", False, "cac is False, and sep runs it as True alone"),
        (HT, "htdemucs.wiener_iters", 2, "wiener_iters is 2"),
        (HT, "htdemucs.num_subbands", 4, "num_subbands is 4"),
        (HT, "htdemucs.t_sparse_self_attn", True, "t_sparse_self_attn is True"),
        (HT, "htdemucs.t_norm_first", False, "t_norm_first is False"),
        (HT, "htdemucs.t_heads", 7, "t_heads does not divide"),
        (HT, "htdemucs.norm_groups", 7, "norm_groups does not divide"),
        (HT, "htdemucs.new_idea", 1, "htdemucs.new_idea is not known"),
        (HT, "htdemucs.emb_scale", float("nan"), "emb_scale must be a number"),
        (HT, "htdemucs.t_max_period", 0, "t_max_period must be 1 to"),
        (HT, "htdemucs.emb_scale", 1e300, "emb_scale must be 0 to"),
        (HT, "htdemucs.stride", 16, "stride must be 1 to 8"),
        (HT, "training.segment", 1e9, "segment must be"),
        (HT, "training.instruments", ["a", "b"], "gives 6 stems, and they name 2 instruments"),
        ("scnet-small", "model.dims", [4, 32, 64, 128], r"dims 4/32/64/128\), but .* 4/8/16/32"),
        ("scnet-small", "model.band_stride", [1, 4], "three numbers each"),
        ("scnet-small", "model.band_stride", [1, 4, 99], "band_stride must be 1 or more"),
        ("scnet-small", "model.band_SR", [0.5, 0.6, 0.1], "band_SR must be parts of 1"),
        ("scnet-small", "model.band_SR", ["x", 1, 1], "must be a list of numbers"),
        ("scnet-masked", "model.nfft", 4096, r"\(nfft 4096\), but weights.ckpt is one of nfft 10"),
        (
            "bs-roformer-mono-linear-skip",
            "model.depth",
            3,
            "for one channel, sep runs stereo alone",
        ),
    ],
)
def test_settings_that_do_not_belong_or_are_not_run(write, name, where, value, told):
    document = published.settings(name)
    *tables, last = where.split(".")
    table = document
    for each in tables:
        table = table[each]
    table[last] = value
    with pytest.raises(ModelError, match=told) as caught:
        understand(*write(name, document), "x")
    assert caught.value.message.isprintable()
    assert "\n" not in caught.value.message
