"""Packages of demucs, and torchaudio's weights: pickles with classes in them, and safetensors."""

import importlib.util
import json
import os
import sys
import types
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sep_protocol.errors import ModelError, SepError
from sep_runtime.models import identify, package, weights
from sep_runtime.models.understand import understand

spec = importlib.util.spec_from_file_location("published", Path(__file__).parent / "published.py")
published = importlib.util.module_from_spec(spec)
spec.loader.exec_module(published)

SOURCES = ["drums", "bass", "other", "vocals"]


class Older:
    """A fraction as Pythons before 3.12 pickled some: of a text."""

    def __init__(self, text):
        self.text = text

    def __reduce__(self):
        return Fraction, (self.text,)


@pytest.fixture
def pretend(monkeypatch):
    """Make a class to pickle, in a module that is not installed here."""

    def make(name):
        module, _, last = name.rpartition(".")
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            each = ".".join(parts[:end])
            monkeypatch.setitem(sys.modules, each, sys.modules.get(each, types.ModuleType(each)))
        klass = type(last, (), {"__module__": module, "__qualname__": last})
        setattr(sys.modules[module], last, klass)
        return klass

    return make


@pytest.fixture
def classes(pretend):
    """Those of demucs."""
    names = ("demucs.htdemucs.HTDemucs", "demucs.hdemucs.HDemucs", "demucs.demucs.Demucs")
    return {name.rpartition(".")[2]: pretend(name) for name in names}


def kwargs_of(name, **changes):
    config = published.vector(name)["config"]
    return {key: value for key, value in {**config, **changes}.items() if key != "hybrid_old"}


def save(path, classes, klass, state, kwargs, args=()):
    half = {key: value.half() for key, value in state.items()}
    held = {"klass": classes[klass], "args": args, "kwargs": kwargs, "state": half}
    torch.save({**held, "training_args": {"seed": 42, "model": {"depth": 4}}}, path)
    return path


@pytest.mark.parametrize("seconds", [Fraction(3, 4), Older("3/4"), 0.75])
def test_a_package_says_all_by_itself(tmp_path, classes, recipe, seconds):
    state = published.state(recipe, "htdemucs-4stem")
    kwargs = kwargs_of("htdemucs-4stem", segment=seconds)
    path = save(tmp_path / "955717e8-00000000.th", classes, "HTDemucs", state, kwargs)
    found = understand(path, None, "mine")
    manifest = found.manifest
    assert (manifest.name, manifest.architecture) == ("mine", "htdemucs")
    assert manifest.stems == ("drums", "bass", "other", "vocals")
    assert (manifest.chunk, manifest.scheme, manifest.normalize) == (33075, "demucs", True)
    assert int(manifest.chunk / manifest.overlap) == 24806  # three quarters of it
    assert manifest.network["segment"] == 33075
    assert {value.dtype for value in found.states[0].values()} == {torch.float16}
    assert found.states[0].keys() == state.keys()


def test_segments_are_whole_samples_of_exact_seconds(tmp_path, classes, recipe):
    state = published.state(recipe, "htdemucs-4stem")
    for seconds, samples in ((Fraction(39, 5), 343_980), (7.8, 343_980), (5, 220_500)):
        kwargs = {"sources": SOURCES, "t_layers": 5, "segment": seconds}
        path = save(tmp_path / "x.th", classes, "HTDemucs", state, kwargs)
        assert understand(path, None, "x").manifest.chunk == samples


def test_a_class_whose_arguments_are_few(tmp_path, classes, recipe):
    """What is not said is in the weights, or as its class has it."""
    state = published.state(recipe, "hdemucs-long-lstm")
    path = save(tmp_path / "x.th", classes, "HDemucs", state, {}, args=(SOURCES,))
    manifest = understand(path, None, "x").manifest
    assert (manifest.architecture, manifest.chunk) == ("hdemucs", 40 * 44100)
    assert (manifest.network["nfft"], manifest.network["depth"]) == (256, 4)
    assert "segment" not in manifest.network


def test_a_package_beside_settings_is_run_as_they_say(tmp_path, classes, recipe):
    import yaml

    state = published.state(recipe, "htdemucs-4stem")
    path = save(tmp_path / "x.th", classes, "HTDemucs", state, kwargs_of("htdemucs-4stem"))
    document = published.settings("htdemucs-4stem")
    document["training"]["segment"] = 11
    document["htdemucs"]["use_train_segment"] = False
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(document))
    manifest = understand(path, tmp_path / "x.yaml", "x").manifest
    assert (manifest.chunk, manifest.overlap, manifest.scheme) == (485_100, 4, "msst-demucs")
    assert manifest.network["segment"] == 0
    assert not manifest.normalize


def test_a_bag_is_no_settings(tmp_path, classes, recipe):
    state = published.state(recipe, "htdemucs-4stem")
    path = save(tmp_path / "x.th", classes, "HTDemucs", state, kwargs_of("htdemucs-4stem"))
    (tmp_path / "x.yaml").write_text("models: ['955717e8']\nsegment: 44\n")
    with pytest.raises(ModelError, match=r"a bag of Demucs models.*x.th is an HTDemucs") as caught:
        understand(path, tmp_path / "x.yaml", "x")
    assert "leave them out" in caught.value.hint


@pytest.mark.parametrize(
    ("klass", "changes", "told"),
    [
        ("HDemucs", {}, "it is called HDemucs, and its weights are an HTDemucs"),
        ("Demucs", {}, "a Demucs of the waveform alone"),
        ("HTDemucs", {"cac": False}, "cac is False"),
        ("HTDemucs", {"multi_freqs": [0.5]}, "multi_freqs is a list"),
        ("HTDemucs", {"channels": 64}, r"\(?channels 64, but its weights are of channels 8"),
        ("HTDemucs", {"brand_new": 3}, "brand_new is not known"),
        ("HTDemucs", {"sources": ["a", "b"]}, "gives 4 stems, and they name 2"),
        ("HTDemucs", {"sources": None}, "sources is missing"),
        ("HTDemucs", {"sources": ["../x", "b", "c", "d"]}, "a stem cannot be called"),
        ("HTDemucs", {"segment": 1e9}, "segment must be"),
        ("HTDemucs", {"segment": {"a": 1}}, "segment must be a number"),
        ("HTDemucs", {"t_heads": [8]}, "t_heads must be a whole number"),
        ("HTDemucs", {"samplerate": 3}, "sample rate"),
    ],
)
def test_packages_that_are_not_run(tmp_path, classes, recipe, klass, changes, told):
    state = published.state(recipe, "htdemucs-4stem")
    kwargs = kwargs_of("htdemucs-4stem", **changes)
    path = save(tmp_path / "x.th", classes, klass, state, kwargs)
    with pytest.raises(ModelError, match=told) as caught:
        understand(path, None, "x")
    assert str(path) in caught.value.message


@pytest.mark.parametrize(
    "odd", ["1/0", "x", "9" * 40, "1/2/3", (1, 0), (10**30, 1), (1.5, 2), ([1], 1), ()]
)
def test_a_fraction_of_a_stranger_is_small_or_none(tmp_path, classes, recipe, odd):
    class Odd:
        def __reduce__(self):
            return Fraction, (odd,) if isinstance(odd, str) else odd

    state = published.state(recipe, "htdemucs-4stem")
    path = save(tmp_path / "x.th", classes, "HTDemucs", state, {"segment": Odd()})
    with pytest.raises(ModelError):
        understand(path, None, "x")


def test_a_table_without_end_is_not_followed():
    """Arguments that hold themselves, or very many."""
    deep = []
    deep.append(deep)

    class Klass(package.Network):
        pass

    said = package.of_pickle({"klass": Klass, "kwargs": {"a": deep, "b": [0] * 10**6}})
    assert len(json.dumps(said.kwargs)) < 100_000


@pytest.mark.parametrize("module", ["diffq.diffq.DiffQuantizer", "diffq.uniform.UniformQuantizer"])
def test_quantised_packages_are_named(tmp_path, classes, pretend, module):
    klass = pretend(module)
    packed = {"__quantized": True, "quantized": [torch.ones(2)], "float16": [], "others": []}
    for meta in ({"klass": klass, "init_kwargs": {"group_size": 8}}, {}):
        held = {"klass": classes["HTDemucs"], "args": (), "kwargs": {}}
        torch.save({**held, "state": {**packed, "meta": meta}}, tmp_path / "x.th")
        with pytest.raises(ModelError, match=r"x.th is a quantised Demucs: diffq") as caught:
            understand(tmp_path / "x.th", None, "x")
        assert "unquantised" in caught.value.hint


def test_safetensors_of_demucs(tmp_path, recipe):
    """As its authors publish them: the arguments are JSON in the metadata."""
    state = {k: v.half() for k, v in published.state(recipe, "htdemucs-4stem").items()}
    kwargs = kwargs_of("htdemucs-4stem")
    kwargs["segment"] = {"_type": "fraction", "numerator": 3, "denominator": 4}
    metadata = {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": json.dumps(kwargs)}
    path = tmp_path / "955717e8.safetensors"
    for klass in ("demucs.htdemucs.HTDemucs", "HTDemucs", '"HTDemucs"'):
        save_file(state, path, {**metadata, "klass": klass})
        manifest = understand(path, None, "x").manifest
        assert (manifest.chunk, manifest.scheme) == (33075, "demucs")
    odd = os.fsencode(tmp_path) + b"/\xff.safetensors"
    Path(os.fsdecode(odd)).write_bytes(path.read_bytes())
    assert understand(Path(os.fsdecode(odd)), None, "x").manifest.chunk == 33075
    save_file(state, path, {**metadata, "structure": "{}"})
    with pytest.raises(ModelError, match="quantised"):
        understand(path, None, "x")
    for bad in ("", "[", "[" * 100_000, "3", '{"segment": "9' + "9" * 40 + '"}'):
        save_file(state, path, {**metadata, "kwargs": bad})
        with pytest.raises(SepError, match=r"sources is missing|segment"):
            understand(path, None, "x")


def torchaudio(state):
    names = {"encoder.": "freq_encoder.", "decoder.": "freq_decoder."}
    names |= {"tencoder.": "time_encoder.", "tdecoder.": "time_decoder."}
    found = {}
    for key, value in state.items():
        first, dot, rest = key.partition(".")
        found[names.get(first + dot, first + dot) + rest] = value
    return found


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_torchaudio_needs_no_settings(tmp_path, recipe, prefix):
    state = published.state(recipe, "hdemucs-long-lstm")
    theirs = torchaudio(state)
    # A norm that it has and never uses, of the layer that is its convolution alone.
    merged = max(k for k in theirs if k.startswith("time_encoder.") and k.endswith("conv.weight"))
    layer = merged.removesuffix("conv.weight")
    assert f"{layer}rewrite.weight" not in theirs
    theirs |= {f"{layer}norm1.weight": torch.ones(8), f"{layer}norm1.bias": torch.ones(8)}
    torch.save({prefix + key: value for key, value in theirs.items()}, tmp_path / "x.pt")
    found = understand(tmp_path / "x.pt", None, "x")
    assert found.manifest.stems == ("drums", "bass", "other", "vocals")
    assert (found.manifest.chunk, found.manifest.scheme) == (441_000, "demucs")
    assert found.states[0].keys() == {prefix + key for key in state}
    for key, value in state.items():
        assert torch.equal(found.states[0][prefix + key], value)
    assert identify.of(found.states).architecture == "hdemucs"


def test_torchaudio_of_other_stems_needs_their_names(tmp_path, recipe):
    state = torchaudio(published.state(recipe, "hdemucs-old-padding"))
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(ModelError, match="2 stems, whose names are not in it"):
        understand(tmp_path / "x.pt", None, "x")


class Runs:
    def __reduce__(self):
        return os.system, ("touch ran",)


def test_a_package_that_runs_code_is_refused_and_named(tmp_path, classes, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for where in ("klass", "args", "kwargs", "state", "training_args"):
        held = {"klass": classes["HTDemucs"], "args": (), "kwargs": {}, "state": {}, where: Runs()}
        torch.save(held, "x.th")
        with pytest.raises(ModelError, match=r"holds more than weights, '(posix|nt).system'"):
            understand(Path("x.th"), None, "x")
    assert not Path("ran").exists()


def test_a_network_pickled_as_an_object_holds_no_state(tmp_path, classes):
    network = classes["HTDemucs"]()
    network.weight = torch.ones(2)
    for held in (network, {"model": network}):
        torch.save(held, tmp_path / "x.th")
        with pytest.raises(ModelError, match="holds no state dict"):
            understand(tmp_path / "x.th", None, "x")


def test_notes_of_training_tools_are_left_out(tmp_path, pretend, recipe):
    """Settings as omegaconf and ml_collections keep them, beside the weights."""
    held = {"model_state_dict": published.state(recipe, "htdemucs-4stem"), "epoch": 3}
    for name in (
        "omegaconf.dictconfig.DictConfig",
        "omegaconf.nodes.AnyNode",
        "omegaconf.base.ContainerMetadata",
        "ml_collections.config_dict.config_dict.ConfigDict",
    ):
        klass = pretend(name)
        held[name] = klass()
        held[name].content = {"a": klass()}
    torch.save(held, tmp_path / "x.ckpt")
    found = weights.opened(tmp_path / "x.ckpt")
    assert found.package is None
    assert identify.of(found.states).architecture == "htdemucs"
