"""The Python API: arrays and files in, stems by name out."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile

import sep_models
import sep_runtime
from sep_protocol.errors import AudioError


@pytest.fixture
def model(tiny):
    return sep_runtime.load("tiny", checkpoint=str(tiny[0]), settings=str(tiny[1]), device="cpu")


def test_array_and_file_give_the_same(model, tmp_path, noise):
    mix = noise(2, 40000)
    soundfile.write(tmp_path / "x.wav", mix.T, 44100, "FLOAT")
    told = []
    stems = model.separate(mix, 44100, progress=lambda done, total: told.append((done, total)))
    assert tuple(stems) == model.stems
    assert told[-1] == (40000, 40000)
    again = model.separate(tmp_path / "x.wav")
    for name, stem in stems.items():
        assert stem.dtype == np.float32
        assert stem.shape == (2, 40000)
        assert np.array_equal(stem, again[name])
    assert model.device == "cpu"


@pytest.fixture(scope="module")
def bundled():
    return sep_runtime.load("mdx23c-mini", device="cpu")


def test_the_bundled_model_hears_quiet_drums_as_loud_ones(bundled):
    mix, rate = soundfile.read(sep_models.golden_clip(), dtype="float32")
    loud = bundled.separate(mix.T, rate)
    quiet = bundled.separate(mix.T * np.float32(0.01), rate)
    for name, stem in loud.items():
        assert stem.any()
        error = np.square(100 * quiet[name] - stem).sum() / np.square(stem).sum()
        assert error < 1e-6


@pytest.mark.parametrize("samples", [1, 64, 4097, 15872, 15873])
def test_the_bundled_model_takes_any_length(bundled, samples, noise):
    mix = 0.1 * noise(2, samples)
    stems = bundled.separate(mix, 44100)
    assert np.abs(sum(stems.values()) - mix).max() < 1e-5


def test_mono_vector(model, noise):
    stems = model.separate(noise(1, 5000)[0], 22050)
    assert stems["kick"].shape == (1, 5000)


def test_arrays_need_a_rate(model):
    with pytest.raises(ValueError, match="sample_rate"):
        model.separate(np.zeros((2, 100), np.float32))


@pytest.mark.parametrize("mix", [np.zeros((2, 0)), np.full((2, 10), np.nan), np.zeros((3, 10))])
def test_arrays_that_are_no_mix(model, mix):
    with pytest.raises(AudioError):
        model.separate(mix.astype(np.float32), 44100)


@pytest.mark.parametrize(
    ("mix", "told"),
    [
        (np.zeros((2, 10), np.int16), "int16"),
        (np.zeros((2, 10), bool), "bool"),
        (np.zeros((2, 10), complex), "complex"),
        (np.zeros((0, 10), np.float32), "shape"),
        (np.zeros((1, 2, 10), np.float32), "shape"),
    ],
)
def test_arrays_of_another_form(model, mix, told):
    with pytest.raises(ValueError, match=told):
        model.separate(mix, 44100)


def test_importing_the_package_loads_no_torch():
    code = "import sys, sep_runtime, sep_runtime.__main__; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_names():
    with pytest.raises(AttributeError):
        _ = sep_runtime.nope
