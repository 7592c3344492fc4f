"""A mix of any rate, channel count and length comes out with exactly its own."""

import numpy as np
import pytest
import torch

from sep_protocol.errors import AudioError
from sep_runtime.streams.overlap import Chunking, OverlapAdd
from sep_runtime.streams.pipeline import Pipeline
from sep_runtime.streams.single import UNCHANGED, Single, level_of


class Copies:
    """A Separator whose stems are the mix and its negative."""

    stems = ("same", "negative")
    apart = 0
    sample_rate = 44100
    channels = 2
    normalize = True
    step = 512
    cut = Chunking(chunk=4096, hop=2048)

    def __init__(self, *, rest=False):
        self.rest = rest

    def stream(self, level=UNCHANGED):
        within = OverlapAdd(
            lambda x: torch.stack((x, -x), 1),
            self.cut,
            stems=2,
            channels=2,
            device=torch.device("cpu"),
        )
        return Single(within, self.sample_rate, level)


def run(mix, rate, block=1000, *, rest=False, **options):
    pipeline = Pipeline(Copies(rest=rest), sample_rate=rate, channels=len(mix), **options)
    blocks = [mix[:, i : i + block] for i in range(0, mix.shape[1], block)]
    return np.concatenate(list(pipeline.run(blocks)), -1)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("samples", [1, 2, 100, 4095, 20001])
@pytest.mark.parametrize("channels", [1, 2])
def test_frame_count_and_channels_are_the_mixs(rate, samples, channels, noise):
    stems = run(noise(channels, samples), rate)
    assert stems.shape == (2, channels, samples)
    assert np.isfinite(stems).all()


@pytest.mark.parametrize("channels", [1, 2])
def test_identity_at_the_models_rate(channels, noise):
    mix = noise(channels, 30000)
    stems = run(mix, 44100)
    assert np.abs(stems[0] - mix).max() <= 1e-6
    assert np.abs(stems[1] + mix).max() <= 1e-6


@pytest.mark.parametrize("rate", [44100, 48000])
def test_the_rest_is_the_mix_minus_the_stems(rate, noise):
    mix = noise(2, 30000)
    stems = run(mix, rate, rest=True)
    assert stems.shape == (3, 2, 30000)
    assert np.abs(stems.sum(0) - mix).max() <= 1e-6
    same, _, rest, left = run(mix, rate, rest=True, residual=True)
    assert np.array_equal(rest, stems[2])
    assert np.abs(same).max() > 0.1
    assert not left.any()


def test_identity_through_resampling():
    time = np.arange(96000) / 96000
    mix = (np.sin(2 * np.pi * 1000 * time) * np.hanning(96000))[None].astype(np.float32)
    found = run(mix, 96000)[0]
    noise = np.square(found - mix).sum()
    snr = 10 * np.log10(np.square(mix).sum() / noise)
    print(f"96 kHz through a 44.1 kHz identity network: {snr:.1f} dB SNR")
    assert snr > 100


def test_more_than_two_channels_are_refused():
    with pytest.raises(AudioError, match="6 channels"):
        Pipeline(Copies(), sample_rate=44100, channels=6)


def test_normalisation_is_undone(noise):
    mix = noise(2, 9000) * 0.1 + 0.05
    level = level_of([mix[:, :4000], mix[:, 4000:]])
    mono = mix.mean(0)
    assert level == pytest.approx((mono.mean(), mono.std()), rel=1e-4)
    assert np.abs(run(mix, 44100, level=level)[0] - mix).max() <= 1e-6
    assert level_of([np.zeros((2, 10), np.float32)]) == (0.0, 1.0)
