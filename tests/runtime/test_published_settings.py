"""What the YAML of the training tools becomes: stems, chunks, and what is left to the file."""

import copy
import importlib.util
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

import sep_models
from sep_protocol.codec import decode
from sep_protocol.errors import ModelError
from sep_runtime.models import identify, settings, weights
from sep_runtime.models.identity import Identity
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
ROFORMER = "bs-roformer-1stem"


@pytest.fixture
def read(tmp_path, recipe):
    """The manifest of a vector's weights with a document beside them."""

    def run(name, document):
        torch.save({"model_state_dict": published.state(recipe, name)}, tmp_path / "x.ckpt")
        (tmp_path / "x.yaml").write_text(yaml.safe_dump(document))
        return understand(tmp_path / "x.ckpt", tmp_path / "x.yaml", "mine").manifest

    return run


@pytest.mark.parametrize(
    ("instruments", "target", "stems"),
    [
        (["vocals", "other"], "vocals", ("vocals", "instrumental")),
        (["vocals", "instrumental"], "vocals", ("vocals", "instrumental")),
        (["vocals", "other"], "other", ("other", "vocals")),
        (["Vocals", "Instrumental"], "Instrumental", ("instrumental", "vocals")),
        (["instrumental"], None, ("instrumental", "vocals")),
        (["dry", "reverb"], "dry", ("dry", "reverb")),
        (["dry", "other"], "dry", ("dry", "no_dry")),
        (["drums", "bass", "other", "vocals"], "drums", ("drums", "no_drums")),
        (["drums", "bass", "other", "vocals"], "other", ("other", "no_other")),
        (["other"], "other", ("other", "no_other")),
        (["guitar"], "guitar", ("guitar", "no_guitar")),
        (["hh", "other"], "hh", ("hihat", "no_hihat")),
    ],
)
def test_one_stem_and_what_it_leaves(read, instruments, target, stems):
    document = published.settings(ROFORMER)
    document["training"] |= {"instruments": instruments, "target_instrument": target}
    manifest = read(ROFORMER, document)
    assert (manifest.stems, manifest.rest, manifest.outputs) == (stems, True, stems[:1])


def test_a_target_of_a_network_with_every_stem_takes_none_away(read):
    document = published.settings("mel-band-roformer-4stem")
    document["training"]["target_instrument"] = "vocals"
    manifest = read("mel-band-roformer-4stem", document)
    assert manifest.stems == ("drums", "bass", "other", "vocals")
    assert not manifest.rest


def test_mdx23c_with_a_target(recipe, tmp_path):
    """It has one output, as every network with a target."""
    found = published.vector("mdx23c-target-batchnorm-relu")
    drawn = recipe.weights(found["shapes"], 1)
    torch.save({key: torch.from_numpy(value) for key, value in drawn.items()}, tmp_path / "x.ckpt")
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(found["config"]))
    manifest = understand(tmp_path / "x.ckpt", tmp_path / "x.yaml", "x").manifest
    assert (manifest.stems, manifest.outputs) == (("vocals", "instrumental"), ("vocals",))
    assert manifest.scheme == "sep"


def test_kick_is_of_drums(read):
    document = published.settings("mel-band-roformer-4stem")
    assert read("mel-band-roformer-4stem", document).expects == "a whole song"
    document["training"]["instruments"] = ["kick", "snare", "toms", "hh"]
    assert read("mel-band-roformer-4stem", document).expects == "drums"


@pytest.mark.parametrize(
    ("name", "overlap"),
    [(ROFORMER, 2), ("mel-band-roformer-1stem", 2), ("scnet-small", 4)],
)
def test_how_a_song_is_cut(read, name, overlap):
    document = published.settings(name, num_overlap=8, chunk_size=88200)
    manifest = read(name, document)
    assert (manifest.chunk, manifest.overlap, manifest.scheme) == (88200, 8, "msst")
    assert (manifest.name, manifest.licence, manifest.sample_rate) == ("mine", "not known", 44100)
    del document["inference"]
    manifest = read(name, document)
    assert (manifest.chunk, manifest.overlap) == (published.CHUNK, overlap)
    assert not manifest.normalize
    document["inference"] = {"normalize": True}
    assert read(name, document).normalize


def test_the_hop_is_the_models_own(read):
    document = published.settings(ROFORMER)
    assert read(ROFORMER, document).network["hop"] == 220
    del document["model"]["stft_hop_length"]
    assert read(ROFORMER, document).network["hop"] == 512


def test_shared_biases_come_from_where_bin_0_is_kept(read):
    name = "bs-roformer-6stem-shared-bias"
    document = published.settings(name)
    del document["model"]["zero_dc"]
    assert read(name, document).network["zero_dc"] is False
    plain = published.settings(ROFORMER)
    del plain["model"]["zero_dc"]
    assert read(ROFORMER, plain).network["zero_dc"] is True


def test_what_changes_nothing_may_be_said(read):
    document = published.settings(ROFORMER)
    known = read(ROFORMER, document)
    document["model"] |= {
        "sage_attention": True,
        "multi_stft_resolutions_window_sizes": [4096, 2048],
        "use_torch_checkpoint": True,
        "num_subbands": 4,
        "sample_rate": 48000,
        "mask_estimator_depth": 9,  # the file knows better
        "use_value_residual": False,
        "dropped": None,
    }
    document["lora"] = {"r": 8}
    assert read(ROFORMER, document) == known


def test_msst_runs_demucs_at_the_length_of_the_training(read):
    document = published.settings("htdemucs-free-length")
    manifest = read("htdemucs-free-length", document)
    assert (manifest.chunk, manifest.overlap, manifest.scheme) == (33075, 4, "msst-demucs")
    assert manifest.network["segment"] == 0
    document["htdemucs"]["use_train_segment"] = True
    assert read("htdemucs-free-length", document).network["segment"] == 33075


def test_the_sources_of_an_scnet_are_its_instruments_where_none_are_named(read):
    document = published.settings("scnet-small")
    document["model"]["sources"] = ["a", "b", "c", "d"]
    assert read("scnet-small", document).stems == ("drums", "bass", "other", "vocals")
    del document["training"]
    assert read("scnet-small", document).stems == ("a", "b", "c", "d")


def test_tables_that_are_none(read):
    for where in ("audio", "model", "training", "inference"):
        for odd in ([], 3, "x"):
            document = copy.deepcopy(published.settings(ROFORMER))
            document[where] = odd
            with pytest.raises(ModelError):
                read(ROFORMER, document)


ODD = (
    *(None, True, False, -1, 0, 1, 2, 3, 7, 8, 1e308, float("nan"), float("inf"), 10**30, 0.5),
    *("", "1e-3", "x" * 1000, "\0", "sin", [], {}, [[]], [0, 0, 0], [1e9, 1, 1], {"a": 1}),
)


def mutated(value, drawn):
    """Return a document with a few values of another kind."""
    if isinstance(value, dict) and value and drawn.random() < 0.9:
        key = drawn.choice(sorted(value))
        if drawn.random() < 0.2:
            return {each: value[each] for each in value if each != key}
        return {**value, key: mutated(value[key], drawn)}
    return drawn.choice(ODD)


@pytest.mark.parametrize("name", published.FAMILIES.values())
def test_mutated_settings_are_refused_or_of_the_network(tmp_path, name):
    """Nothing but our errors, and a manifest whose numbers a network can be made of."""
    shapes = {key: tuple(shape) for key, shape in published.vector(name)["shapes"].items()}
    identity = identify.of_shapes(shapes)
    plain = published.settings(name)
    taken = refused = 0
    for seed in range(200):
        drawn = random.Random(seed)
        document = plain
        for _ in range(drawn.choice((1, 1, 2, 4))):
            document = mutated(document, drawn)
        (tmp_path / "x.yaml").write_text(yaml.safe_dump(document))
        try:
            manifest = settings.read(tmp_path / "x.yaml", "x", identity, "x.ckpt")
        except ModelError as fault:
            refused += 1
            assert fault.message.isprintable()
            assert len(fault.message) < 500
            continue
        taken += 1
        kind = SHAPES[manifest.architecture]
        shape = decode(kind, {**manifest.network, "stems": len(manifest.outputs)})
        assert 1 <= manifest.overlap <= manifest.chunk
        assert getattr(shape, "hop", 1) >= 1
    assert taken > 20
    assert refused > 50


def test_a_file_of_the_catalogue_has_the_catalogues_manifest(tmp_path, recipe, monkeypatch):
    torch.save(published.state(recipe, ROFORMER), tmp_path / "x.ckpt")
    manifest = settings.manifest_of(
        published.settings(ROFORMER),
        "known",
        Identity(
            called="a BS-Roformer",
            architecture="bs-roformer",
            facts={**_facts(tmp_path / "x.ckpt")},
        ),
    )
    source = sep_models.Source(file="x.ckpt", sha256=weights.digest(tmp_path / "x.ckpt"))
    known = replace(manifest, sources=(source,))
    monkeypatch.setattr(sep_models, "catalogue", lambda: (known,))
    found = understand(tmp_path / "x.ckpt", None, "x")
    assert (found.manifest, found.sha256) == (known, source.sha256)


def _facts(path):
    return identify.of(weights.read(path)).facts
