"""Procedural drum hits: every sound is drawn from a seeded generator, no sample is involved."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from oscillators import METAL_808, log_uniform
from stems import RATE, Audio

Spectrum = NDArray[np.complex64]

# Ratios of the first modes of an ideal circular membrane (zeros of Bessel functions over 2.405).
MEMBRANE = (1.0, 1.594, 2.136, 2.296, 2.653, 2.918)


def _seconds(length: int) -> NDArray[np.float32]:
    return np.arange(length, dtype=np.float32) / np.float32(RATE)


def _faded(audio: Audio) -> Audio:
    """[C, T]: the last 10 ms faded, so that a cut tail does not click."""
    count = min(441, audio.shape[-1])
    audio[..., -count:] *= np.linspace(1, 0, count, dtype=np.float32)
    return audio


def band_noise(
    rng: np.random.Generator, length: int, bands: list[tuple[float, float, float, float]]
) -> Audio:
    """[2, length]: noise bands given as (low Hz, high Hz, decay in s, gain), half decorrelated."""
    size = 1 << (length - 1).bit_length()
    frequency = np.fft.rfftfreq(size, 1 / RATE)
    white = rng.standard_normal((3, size), dtype=np.float32)
    stereo = np.fft.rfft(white[:2] * np.float32(0.7) + white[2])
    t = _seconds(length)
    out = np.zeros((2, length), np.float32)
    for low, high, decay, gain in bands:
        shape = 1 / np.sqrt(
            (1 + (low / np.maximum(frequency, 1)) ** 8) * (1 + (frequency / high) ** 8)
        )
        band = np.fft.irfft(stereo * shape, size)[:, :length].astype(np.float32)
        out += band * np.float32(gain) * np.exp(-t / np.float32(decay))
    return out


def partials(
    rng: np.random.Generator,
    length: int,
    frequencies: NDArray[np.float64],
    decays: NDArray[np.float64],
    gains: NDArray[np.float64],
) -> Audio:
    """[2, length]: exponentially decaying sines, placed at random in the panorama.

    Summed in the frequency domain: the DFT of r^n, r = exp(-a + iw), is (1 - r^N) / (1 - r z^-k),
    and only the bins around its peak matter.
    """
    size = 1 << (length - 1).bit_length()
    spectrum = np.zeros((2, size // 2 + 1), np.complex128)
    reach = 2000
    for frequency, decay, gain in zip(frequencies, decays, gains, strict=True):
        r = np.exp(-1 / (decay * RATE) + 2j * np.pi * frequency / RATE)
        centre = round(frequency * size / RATE)
        k = np.arange(max(centre - reach, 0), min(centre + reach, size // 2))
        line = (1 - r**size) / (1 - r * np.exp(-2j * np.pi * k / size))
        pan = rng.uniform(0.15, 0.85)
        phase = np.exp(2j * np.pi * rng.uniform())
        spectrum[0, k] += gain * (1 - pan) * phase * line
        spectrum[1, k] += gain * pan * phase * line
    return np.fft.irfft(spectrum, size)[:, :length].astype(np.float32)


def _mono(signal: NDArray[np.float32]) -> Audio:
    return np.stack((signal, signal))


def _swept(
    t: NDArray[np.float32], start: float, end: float, glide: float, decay: float
) -> NDArray[np.float32]:
    """[T]: a sine that falls from `start` to `end` Hz with time constant `glide`."""
    phase = end * t + (start - end) * glide * (1 - np.exp(-t / glide))
    return np.asarray(np.sin(2 * np.pi * phase) * np.exp(-t / decay), np.float32)


def kick(rng: np.random.Generator) -> Audio:
    """[2, T]: a falling sine with a click and soft clipping."""
    decay = log_uniform(rng, 0.06, 0.5)
    t = _seconds(int(RATE * min(decay * 6, 1.6)))
    end = rng.uniform(42, 70)
    body = _swept(t, end * rng.uniform(2, 9), end, log_uniform(rng, 0.008, 0.04), decay)
    drive = rng.uniform(1, 4)
    out = _mono(np.tanh(body * drive) / np.float32(np.tanh(drive)))
    click = rng.uniform(1500, 6000)
    out += rng.uniform(0.02, 0.35) * band_noise(
        rng, t.size, [(click / 3, click, log_uniform(rng, 0.002, 0.012), 1.0)]
    )
    return _faded(out)


def snare(rng: np.random.Generator) -> Audio:
    """[2, T]: two shell modes and the wires' noise."""
    decay = log_uniform(rng, 0.05, 0.22)
    t = _seconds(int(RATE * min(decay * 7, 1.2)))
    low = rng.uniform(150, 260)
    ratio = rng.uniform(1.5, 1.95)
    body = _swept(t, low * 1.3, low, 0.01, decay * rng.uniform(0.4, 1))
    body += np.float32(0.6) * _swept(t, low * ratio * 1.2, low * ratio, 0.008, decay * 0.5)
    wires = band_noise(
        rng,
        t.size,
        [
            (rng.uniform(600, 1500), 5000, decay, 0.22),
            (4000, rng.uniform(9000, 16000), decay * rng.uniform(0.6, 1.2), 0.22),
        ],
    )
    return _faded(_mono(body * np.float32(rng.uniform(0.3, 1))) + wires * rng.uniform(0.4, 1.2))


def rim(rng: np.random.Generator) -> Audio:
    """[2, T]: a short woody knock."""
    length = int(RATE * 0.15)
    base = rng.uniform(350, 900)
    modes = base * np.array([1, 2.7, 4.9, 7.8]) * rng.uniform(0.95, 1.05, 4)
    out = partials(rng, length, modes, rng.uniform(0.006, 0.03, 4), np.array([1, 0.8, 0.5, 0.3]))
    return _faded(out + band_noise(rng, length, [(2000, 9000, 0.008, 0.1)]))


def tom(rng: np.random.Generator, pitch: float) -> Audio:
    """[2, T]: membrane modes at `pitch` Hz that glide down a little, and the stick."""
    decay = log_uniform(rng, 0.12, 0.6)
    t = _seconds(int(RATE * min(decay * 6, 2)))
    glide = rng.uniform(1.05, 1.5)
    body = np.zeros(t.size, np.float32)
    for index, ratio in enumerate(MEMBRANE):
        gain = np.float32(1 if index == 0 else rng.uniform(0.05, 0.5) / index)
        mode = pitch * ratio
        body += gain * _swept(t, mode * glide, mode, 0.05, decay / (1 + 0.7 * index))
    stick = band_noise(rng, t.size, [(rng.uniform(800, 2000), 6000, 0.008, 1.0)])
    hiss = band_noise(rng, t.size, [(200, 3000, decay * 0.2, 1.0)])
    return _faded(_mono(body) + stick * rng.uniform(0.02, 0.2) + hiss * rng.uniform(0, 0.08))


def _square_metal(rng: np.random.Generator, length: int, decay: float) -> Audio:
    """[2, T]: the 808's six square waves through a high-pass, as cheap hats and cymbals are."""
    t = _seconds(length)
    tune = rng.uniform(0.8, 1.4)
    mix = np.zeros(length, np.float32)
    for frequency in METAL_808:
        mix += np.sign(np.sin(2 * np.pi * frequency * tune * t + rng.uniform(0, 6.28)))
    spectrum = np.fft.rfft(mix)
    frequency_axis = np.fft.rfftfreq(length, 1 / RATE)
    spectrum /= 1 + (rng.uniform(5000, 9000) / np.maximum(frequency_axis, 1)) ** 4
    return _mono((np.fft.irfft(spectrum, length) * np.exp(-t / decay)).astype(np.float32))


def metal(rng: np.random.Generator, length: int, low: float, decay: float, noise: float) -> Audio:
    """[2, T]: dense inharmonic partials above `low` Hz whose high ones die first, and noise."""
    count = int(rng.integers(60, 160))
    frequencies = low * (17000 / low) ** (rng.uniform(size=count) ** rng.uniform(0.6, 1.1))
    damping = (frequencies / 3000) ** -rng.uniform(0.2, 0.7)
    decays = np.maximum(decay * damping * rng.uniform(0.4, 1.3, count), 0.004)
    gains = rng.uniform(0.2, 1, count) * (frequencies / 5000) ** rng.uniform(-0.6, 0.3)
    out = partials(rng, length, frequencies, decays, gains / np.sqrt(count))
    edges = np.geomspace(max(low, 500), 18000, 6)
    bands = [
        (float(a), float(b), decay * rng.uniform(0.5, 0.9) * (b / 3000) ** -0.35, 0.12)
        for a, b in itertools.pairwise(edges)
    ]
    return out + noise * band_noise(rng, length, bands)


def hihat(rng: np.random.Generator, *, opened: bool) -> Audio:
    """[2, T]: a closed or open hi-hat."""
    decay = log_uniform(rng, 0.15, 0.7) if opened else log_uniform(rng, 0.015, 0.07)
    length = int(RATE * min(decay * 7, 3)) + 441
    if rng.uniform() < 0.3:
        return _faded(_square_metal(rng, length, decay))
    return _faded(metal(rng, length, rng.uniform(2500, 6000), decay, rng.uniform(0.5, 2)))


def cymbal(rng: np.random.Generator, kind: str) -> Audio:
    """[2, T]: `kind` is crash, ride or bell."""
    decay = log_uniform(rng, 0.5, 1.8)
    length = int(RATE * min(decay * 4, 4))
    if kind == "crash":
        if rng.uniform() < 0.15:
            return _faded(_square_metal(rng, length, decay))
        out = metal(rng, length, rng.uniform(300, 900), decay, rng.uniform(0.7, 2))
        bloom = 1 - rng.uniform(0.2, 0.7) * np.exp(-_seconds(length) / rng.uniform(0.005, 0.03))
        return _faded(out * bloom.astype(np.float32))
    out = metal(rng, length, rng.uniform(400, 1500), decay, rng.uniform(0.05, 0.4)) * 0.5
    ping = rng.uniform(0.3, 1) if kind == "ride" else rng.uniform(1, 2)
    base = rng.uniform(450, 1100)
    modes = base * np.array([1, 1.47, 2.09, 2.76, 3.9, 5.4]) * rng.uniform(0.96, 1.04, 6)
    out += partials(
        rng, length, modes, decay * rng.uniform(0.1, 0.6, 6), ping * rng.uniform(0.2, 0.5, 6)
    )
    stick = band_noise(
        rng, length, [(3000, 14000, rng.uniform(0.006, 0.03), rng.uniform(0.1, 0.5))]
    )
    return _faded(out + stick)


def hit(rng: np.random.Generator, role: str) -> Audio:
    """[2, T] at peak 1 for a role of `stems.ROLES`."""
    if role in ("tom1", "tom2", "tom3"):
        low, high = {"tom1": (150, 260), "tom2": (105, 180), "tom3": (60, 120)}[role]
        audio = tom(rng, rng.uniform(low, high))
    elif role in ("closed", "pedal", "open"):
        audio = hihat(rng, opened=role == "open")
    elif role in ("crash", "ride", "bell"):
        audio = cymbal(rng, role)
    else:
        audio = {"kick": kick, "snare": snare, "rim": snare, "side": rim}[role](rng)
    return (audio / max(float(np.abs(audio).max()), 1e-6)).astype(np.float32)
