"""What sounds like drums: real drums, songs made of them, and what a listener must withstand."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from sep_runtime.audio.drumness import LEAST, SECONDS, Drumness

ROOT = Path(__file__).parents[2]
RATE = 44100
CHORDS = ((57, 60, 64), (53, 57, 60), (60, 64, 67), (55, 59, 62))  # a minor, F, C, G
LEAD = (76, 74, 72, 69, 72, 74, 67, 71)


def drums(repeats=1):
    samples, _ = soundfile.read(ROOT / "examples" / "groove.flac", dtype="float32")
    return np.tile(samples.T, (1, repeats))


def tone(pitch, seconds, rate=RATE):
    """A plucked tone of six harmonics, tuned to A at 443 Hz."""
    t = np.arange(round(seconds * rate)) / rate
    frequency = 443 * 2 ** ((pitch - 69) / 12)
    waves = sum(np.sin(2 * np.pi * frequency * k * t) / k**1.3 for k in range(1, 7))
    return (waves * np.exp(-t / 1.5) * np.minimum(t / 0.01, 1)).astype(np.float32)


def instruments(seconds, lead=True):
    """[2, T]: a chord to a second and a lead of two notes to it."""
    out = np.zeros((2, round(seconds * RATE)), np.float32)
    for at in range(int(seconds)):
        notes = [(at, pitch, 1.0) for pitch in CHORDS[at // 2 % len(CHORDS)]]
        if lead:
            notes += [(at + half / 2, LEAD[(2 * at + half) % len(LEAD)], 0.5) for half in (0, 1)]
        for start, pitch, length in notes:
            sound = tone(pitch, length)
            first = round(start * RATE)
            out[:, first : first + sound.size] += 0.1 * sound
    return out


@pytest.fixture(scope="module")
def song():
    whole = drums()
    return whole + 1.5 * instruments(whole.shape[1] / RATE)


def listener(samples, rate=RATE, block=65536):
    ear = Drumness(rate)
    for start in range(0, samples.shape[1], block):
        ear.push(samples[:, start : start + block])
    return ear


def test_the_example_and_the_golden_clip_are_drums():
    assert listener(drums()).sounds_like_drums is True
    clip, rate = soundfile.read(ROOT / "models/sep_models/golden.flac", dtype="float32")
    assert listener(np.tile(clip.T, (1, 3)), rate).sounds_like_drums is True


def test_a_song_is_not_with_drums_or_without(song):
    assert listener(song).sounds_like_drums is False
    assert listener(instruments(12)).sounds_like_drums is False
    assert listener(drums() + instruments(12, lead=False)).sounds_like_drums is False


@pytest.mark.parametrize("gain", [1e-4, 0.1, 30, 1e6])
def test_the_level_does_not_matter(song, gain):
    for samples in (song, drums()):
        expected = listener(samples).log_odds
        found = listener(samples * np.float32(gain)).log_odds
        assert found == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("block", [777, 44101, 10**7])
def test_the_size_of_blocks_does_not_matter(song, block):
    assert listener(song, block=block).log_odds == pytest.approx(listener(song).log_odds, abs=1e-3)


def test_blocks_of_one_sample_and_of_none():
    samples = instruments(5)
    ear = Drumness(8000)
    whole = listener(samples[:, :40000], 8000)
    ear.push(samples[:, :39990])
    for at in range(39990, 40000):
        ear.push(samples[:, at : at + 1])
        ear.push(samples[:, :0])
    assert ear.log_odds == pytest.approx(whole.log_odds, abs=1e-3)


@pytest.mark.parametrize("rate", [8000, 48000, 96000])
def test_other_rates(song, rate):
    for samples, is_drums in ((song, False), (drums(), True)):
        converted = soxr.resample(samples.T, RATE, rate).T
        assert listener(converted, rate).sounds_like_drums is is_drums


def test_mono_and_more_channels(song):
    expected = listener(song).log_odds
    mono = song.mean(axis=0, keepdims=True)
    assert listener(mono).log_odds == pytest.approx(expected, abs=1e-3)
    assert listener(np.repeat(mono, 6, axis=0)).log_odds == pytest.approx(expected, abs=1e-3)


def test_clipped_samples(song):
    for samples, is_drums in ((song, False), (drums(), True)):
        clipped = np.clip(samples * 8, -1, 1)
        assert listener(clipped).sounds_like_drums is is_drums


def test_too_little_is_no_answer():
    for samples in (
        np.zeros((2, 0), np.float32),
        np.zeros((2, 20 * RATE), np.float32),
        drums()[:, : round(0.3 * RATE)],
        drums()[:, : round((LEAST - 1) * RATE)],
        np.full((1, 20 * RATE), 1e-40, np.float32),
        np.pad(drums()[:, :RATE], ((0, 0), (20 * RATE, 20 * RATE))),
    ):
        ear = listener(samples)
        assert ear.sounds_like_drums is None
        assert ear.log_odds is None


def test_silence_before_the_song_is_not_the_song(song):
    late = np.pad(song, ((0, 0), (70 * RATE, 0)))
    assert listener(late).log_odds == pytest.approx(listener(song).log_odds, abs=0.3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_what_are_no_numbers_gives_numbers(song, bad):
    broken = song.copy()
    broken[:, RATE : RATE + 3] = bad
    assert np.isfinite(listener(broken).log_odds)
    nothing = listener(np.full((2, 20 * RATE), bad, np.float32))
    assert nothing.log_odds is None or np.isfinite(nothing.log_odds)


@pytest.mark.parametrize("constant", [1.0, -0.3])
def test_a_constant_and_noise_raise_nothing(constant):
    assert listener(np.full((2, 20 * RATE), constant, np.float32)).sounds_like_drums is not False
    noise = np.random.default_rng(0).standard_normal((2, 20 * RATE)).astype(np.float32)
    assert listener(noise).sounds_like_drums is True


def test_a_minute_is_enough(song):
    ear = Drumness(RATE)
    long = np.tile(drums(), (1, 6))[:, : round((SECONDS + 1) * RATE)]
    ear.push(long[:, : 30 * RATE])
    assert not ear.done
    ear.push(long[:, 30 * RATE :])
    assert ear.done
    before = ear.log_odds
    ear.push(song)
    assert ear.log_odds == before
