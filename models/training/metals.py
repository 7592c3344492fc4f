"""Procedural hi-hats and cymbals made of noise whose bands die away one by one, and partials."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from oscillators import log_uniform
from scipy import fft
from stems import RATE, Audio
from synth import partials

if TYPE_CHECKING:
    from numpy.typing import NDArray

BANDS = 18


def texture(
    rng: np.random.Generator, length: int, low: float, decay: float, tilt_db: float
) -> Audio:
    """[2, length]: noise above `low` Hz; `decay` in s at 3 kHz, `tilt_db` per octave.

    Levels and decays of the bands follow smooth random curves, so that every draw is another
    alloy; each band also has a fast first stage, as a struck plate spreads its energy.
    """
    size = 1 << (length - 1).bit_length()
    frequency = fft.rfftfreq(size, 1 / RATE).astype(np.float32)
    octave = np.log2(np.maximum(frequency, 20) / 3000)
    own = np.random.default_rng(rng.integers(1 << 62))  # one seed is one alloy at any length
    white = own.standard_normal((3, size), dtype=np.float32)
    spectrum = fft.rfft(white[:2] * np.float32(rng.uniform(0.1, 1)) + white[2])
    centres = np.linspace(np.log2(max(low, 100) / 3000), np.log2(18000 / 3000), BANDS)
    step = centres[1] - centres[0]
    bumps = np.convolve(rng.normal(0, rng.uniform(2, 8), BANDS + 2), (0.5, 0.8, 0.5), "valid")
    levels = 10 ** ((bumps + tilt_db * centres) / 20)
    damping = rng.uniform(0.05, 0.6)
    decays = decay * 2 ** (-damping * centres) * np.exp(rng.normal(0, 0.2, BANDS))
    fast, share = rng.uniform(0.03, 0.3), rng.uniform(0, 0.85)
    t = np.arange(length, dtype=np.float32) / np.float32(RATE)
    out = np.zeros((2, length), np.float32)
    for centre, level, tau in zip(centres, levels, decays, strict=True):
        shape = np.clip(1 - np.abs(octave - centre) / step, 0, 1).astype(np.float32)
        band = fft.irfft(spectrum * shape, size)[:, :length].astype(np.float32)
        envelope = (1 - share) * np.exp(-t / np.float32(tau))
        envelope += share * np.exp(-t / np.float32(tau * fast))
        out += band * (np.float32(level) * envelope).astype(np.float32)
    return out


def ringing(
    rng: np.random.Generator, length: int, span: tuple[float, float], decay: float, count: int
) -> Audio:
    """[2, length]: `count` inharmonic partials between the two frequencies of `span`, in Hz."""
    low, high = span
    frequencies = low * (high / low) ** rng.uniform(size=count)
    decays = np.maximum(decay * (frequencies / 3000) ** -0.4 * rng.uniform(0.3, 1.5, count), 0.005)
    gains = rng.uniform(0.1, 1, count) ** 2 / np.sqrt(count)
    return partials(rng, length, frequencies, decays, gains)


def rattle(rng: np.random.Generator, length: int) -> NDArray[np.float32]:
    """[length]: the uneven gain of two cymbals that touch each other loosely."""
    points = max(length // int(RATE / rng.uniform(25, 90)), 4)
    power, depth = rng.uniform(0.5, 1.5), rng.uniform(0.2, 0.9)
    coarse = np.abs(rng.standard_normal(points)) ** power
    gain = np.interp(np.linspace(0, points - 1, length), np.arange(points), coarse)
    return np.asarray(1 - depth + depth * gain, np.float32)


def _shaped(rng: np.random.Generator, audio: Audio, rise: float) -> Audio:
    """[2, T]: a soft attack of `rise` s, a stick's click, a faded end."""
    length = audio.shape[1]
    t = np.arange(length, dtype=np.float32) / np.float32(RATE)
    audio = audio / np.float32(max(np.abs(audio).max(), 1e-6))
    audio *= 1 - np.exp(-t / np.float32(rise))
    if rng.uniform() < 0.6:
        click = texture(rng, min(length, 2048), 1000, rng.uniform(0.002, 0.01), rng.uniform(-3, 4))
        click *= np.float32(rng.uniform(0.1, 1.2) / max(np.abs(click).max(), 1e-6))
        audio[:, : click.shape[1]] += click
    fade = min(length, 441)
    audio[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return audio


def thud(rng: np.random.Generator) -> Audio:
    """[2, T]: the dull knock of a stand, of two plates' middles, of a foot on its pedal."""
    low = log_uniform(rng, 60, 300)
    decay = log_uniform(rng, 0.008, 0.05)
    length = int(RATE * decay * 6) + 441
    audio = ringing(rng, length, (low, low * rng.uniform(1.5, 5)), decay, int(rng.integers(1, 8)))
    return _shaped(rng, audio, log_uniform(rng, 0.001, 0.008))


def hihat(rng: np.random.Generator, role: str) -> Audio:
    """[2, T] for closed, pedal or open, from tight and bright to half open, dark and sizzling."""
    low, high = {"closed": (0.012, 0.16), "pedal": (0.02, 0.14), "open": (0.09, 1.1)}[role]
    decay = log_uniform(rng, low, high)
    length = int(RATE * min(decay * 6, 2.5)) + 882
    floor = log_uniform(rng, 250, 5000)
    audio = texture(rng, length, floor, decay, rng.uniform(-5, 5))
    ring = ringing(rng, length, (max(floor, 300), 15000), decay, int(rng.integers(15, 70)))
    audio += ring * np.float32(log_uniform(rng, 0.05, 3) * np.abs(audio).max())
    if rng.uniform() < 0.5:  # the plate's own low modes, as a close microphone hears them
        gong = ringing(rng, length, (220, 1000), decay * rng.uniform(0.3, 1.5), 6)
        loud = log_uniform(rng, 0.1, 1.5) * np.abs(audio).max() / max(np.abs(gong).max(), 1e-6)
        audio += gong * np.float32(loud)
    if role == "open" and rng.uniform() < 0.5:
        audio *= rattle(rng, length)
    rise = log_uniform(rng, 0.002, 0.012) if role == "pedal" else log_uniform(rng, 0.0001, 0.002)
    return _shaped(rng, audio, rise)


def cymbal(rng: np.random.Generator, role: str) -> Audio:
    """[2, T] for crash, ride or bell; a crash may be a splash or a china."""
    short = role == "crash" and rng.uniform() < 0.25
    decay = log_uniform(rng, 0.15, 0.5) if short else log_uniform(rng, 0.5, 2.2)
    length = int(RATE * min(decay * 3.5, 4.5))
    floor = log_uniform(rng, 120, 900)
    audio = texture(rng, length, floor, decay, rng.uniform(-5, 2))
    ring = ringing(rng, length, (max(floor, 200), 12000), decay, int(rng.integers(30, 110)))
    audio += ring * np.float32(log_uniform(rng, 0.05, 3) * np.abs(audio).max())
    if role == "crash":
        return _shaped(rng, audio, log_uniform(rng, 0.0005, 0.02))
    audio *= np.float32(log_uniform(rng, 0.03, 0.7) / np.abs(audio).max())
    base = rng.uniform(350, 1300)
    modes = base * np.array([1, 1.47, 2.09, 2.76, 3.9, 5.4, 7.1]) * rng.uniform(0.94, 1.06, 7)
    rings = decay * rng.uniform(0.05, 0.6, 7)
    strength = rng.uniform(0.05, 0.4) if role == "ride" else rng.uniform(0.4, 1)
    audio += partials(rng, length, modes, rings, strength * rng.uniform(0.1, 0.5, 7))
    return _shaped(rng, audio, log_uniform(rng, 0.0001, 0.001))
