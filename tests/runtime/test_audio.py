"""Audio in and out: samples, depths, dither, and files that are not what they say."""

import numpy as np
import pytest
import soundfile

from sep_protocol.errors import AudioError
from sep_runtime.audio.decode import open_mix
from sep_runtime.audio.encode import StemFile
from sep_runtime.audio.resample import Resampler


def read(path):
    with open_mix(path) as mix:
        return np.concatenate(list(mix.blocks()), -1)


def write(path, samples, file_format="wav", depth="24"):
    file = StemFile(
        path, sample_rate=44100, channels=len(samples), file_format=file_format, depth=depth
    )
    for part in np.array_split(samples, 3, axis=1):
        file.write(part)
    file.close()
    return file


@pytest.mark.parametrize(
    ("file_format", "depth"), [("wav", "24"), ("flac", "24"), ("wav", "float")]
)
def test_what_was_written_is_read(tmp_path, noise, file_format, depth):
    samples = noise(2, 10001)
    write(tmp_path / "x", samples, file_format, depth)
    found = read(tmp_path / "x")
    step = 0 if depth == "float" else 2**-24
    assert np.abs(found - samples).max() <= step


@pytest.mark.parametrize("file_format", ["wav", "flac"])
def test_24_bit_samples_survive_bit_for_bit(tmp_path, file_format):
    whole = np.random.default_rng(0).integers(-(2**23), 2**23, (2, 5000))
    samples = (whole / 2**23).astype(np.float32)
    write(tmp_path / "x", samples, file_format)
    assert np.array_equal(read(tmp_path / "x"), samples)


def test_16_bit_is_dithered(tmp_path):
    quiet = np.full((1, 200000), 0.3 / 32768, np.float32)
    write(tmp_path / "x.wav", quiet, depth="16")
    steps = read(tmp_path / "x.wav") * 32768
    assert set(np.unique(steps)) <= {-1.0, 0.0, 1.0, 2.0}
    assert steps.mean() == pytest.approx(0.3, abs=0.01)  # without dither it would be 0
    assert steps.std() == pytest.approx(0.5, abs=0.1)


def test_clipping_is_counted_and_never_wraps(tmp_path):
    loud = np.array([[0.5, 1.0, 1.5, -1.0, -1.5]], np.float32)
    file = write(tmp_path / "x.wav", loud)
    assert file.clipped == 3
    found = read(tmp_path / "x.wav")[0]
    assert found.max() < 1
    assert found.min() == -1
    assert write(tmp_path / "y.wav", loud, depth="float").clipped == 0
    assert np.array_equal(read(tmp_path / "y.wav"), loud)


@pytest.mark.parametrize("depth", ["16", "24"])
@pytest.mark.parametrize("channels", [1, 2])
def test_steps_are_those_of_float64_arithmetic(tmp_path, depth, channels):
    """Every sample, dither and clipping too, is what the plain formula gives in float64."""
    drawn = np.random.default_rng(1)
    samples = (drawn.standard_normal((channels, 30000)) * 0.5).astype(np.float32)
    edge = np.float32([0, -0.0, 1, -1, 1e-40, 3e38, -3e38, 0.5 * 2**-23, 1.5 * 2**-23, 1 - 2**-24])
    samples[:, :10] = edge
    file = write(tmp_path / "x.wav", samples, depth=depth)
    top, noise, whole = 2 ** (int(depth) - 1), np.random.default_rng(0), []
    for part in np.array_split(samples, 3, axis=1):
        scaled = part.T.astype(np.float64) * top
        if depth == "16":
            scaled += noise.random(scaled.shape) - noise.random(scaled.shape)
        whole.append(np.rint(scaled))
    wanted = np.concatenate(whole)
    assert file.clipped == np.count_nonzero((wanted < -top) | (wanted >= top)) > 0
    found = soundfile.read(tmp_path / "x.wav", dtype="int32", always_2d=True)[0]
    assert np.array_equal(found >> (32 - int(depth)), np.clip(wanted, -top, top - 1))


def test_float_input_is_known(tmp_path, noise):
    for subtype, is_float in (("PCM_16", False), ("FLOAT", True), ("DOUBLE", True)):
        soundfile.write(tmp_path / "x.wav", noise(1, 100).T, 8000, subtype)
        with open_mix(tmp_path / "x.wav") as mix:
            assert mix.is_float is is_float
            assert (mix.sample_rate, mix.channels, mix.frames) == (8000, 1, 100)


def make_bad(path, kind):
    samples = np.random.default_rng(0).standard_normal((9000, 2)) * 0.1
    if kind == "missing":
        return "there is no file"
    if kind == "text":
        path.write_text("this is no audio" * 100)
    elif kind == "zero":
        path.touch()
        return "is empty"
    elif kind == "folder":
        path.mkdir()
        return "is a folder"
    elif kind == "empty":
        soundfile.write(path, samples[:0], 44100, format="WAV")
        return "no audio"
    elif kind == "nan":
        samples[5000] = np.nan
        soundfile.write(path, samples, 44100, "FLOAT", format="WAV")
        return "not numbers"
    elif kind == "infinite":
        samples[5000] = -np.inf
        soundfile.write(path, samples, 44100, "FLOAT", format="WAV")
        return "not numbers"
    elif kind == "cut flac":
        soundfile.write(path, samples, 44100, format="FLAC")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        return "damaged|cut off"
    return "is not audio, or it is damaged"


@pytest.mark.parametrize(
    "kind", ["missing", "text", "zero", "folder", "empty", "nan", "infinite", "cut flac"]
)
def test_bad_files_are_told_apart(tmp_path, kind):
    path = tmp_path / "x.wav"
    told = make_bad(path, kind)
    with pytest.raises(AudioError, match=told):
        read(path)


@pytest.mark.parametrize("rate", [8000, 32000, 48000, 96000, 192000])
def test_resampling_there_and_back(rate):
    time = np.arange(rate) / rate
    tone = np.stack([np.sin(2 * np.pi * 440 * time), np.cos(2 * np.pi * 1000 * time)])
    tone = (tone * np.hanning(rate)).astype(np.float32)
    up, down = Resampler(rate, 44100, 2), Resampler(44100, rate, 2)
    parts = [up.push(part) for part in np.array_split(tone, 7, axis=1)]
    inner = np.concatenate([*parts, up.push(tone[:, :0], last=True)], -1)
    back = np.concatenate([down.push(inner), down.push(inner[:, :0], last=True)], -1)
    size = min(back.shape[1], rate)
    assert abs(back.shape[1] - rate) <= 2
    noise = np.square(back[:, :size] - tone[:, :size]).sum()
    assert 10 * np.log10(np.square(tone).sum() / noise) > 100
