"""Linear effects that a renderer applies to single hits and stems."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft
from stems import RATE, Audio, decibels

if TYPE_CHECKING:
    from numpy.typing import NDArray


@lru_cache(maxsize=64)
def _circle(size: int) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
    """[size / 2 + 1] twice: z^-1 and z^-2 on an FFT's grid."""
    z = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    return z.astype(np.complex64), (z * z).astype(np.complex64)


@dataclass(frozen=True, slots=True)
class Filter:
    """A biquad of the Audio EQ Cookbook (R. Bristow-Johnson): peak, lowshelf or highshelf."""

    kind: str
    frequency: float
    gain_db: float
    q: float = 0.8

    def coefficients(self) -> tuple[list[float], list[float]]:
        """Return numerator and denominator."""
        a = decibels(self.gain_db / 2)
        w = 2 * np.pi * self.frequency / RATE
        cos, alpha = float(np.cos(w)), float(np.sin(w) / (2 * self.q))
        if self.kind == "peak":
            b = [1 + alpha * a, -2 * cos, 1 - alpha * a]
            return b, [1 + alpha / a, -2 * cos, 1 - alpha / a]
        sign = 1 if self.kind == "lowshelf" else -1
        root = 2 * float(np.sqrt(a)) * alpha
        up, down = a + 1, a - 1
        b = [
            a * (up - sign * down * cos + root),
            2 * sign * a * (down - sign * up * cos),
            a * (up - sign * down * cos - root),
        ]
        return b, [
            up + sign * down * cos + root,
            -2 * sign * (down + sign * up * cos),
            up + sign * down * cos - root,
        ]

    def response(self, size: int) -> NDArray[np.complex64]:
        """[size / 2 + 1]: the frequency response on an FFT's grid."""
        z, zz = _circle(size)
        b, a = (np.asarray(part, np.float32) for part in self.coefficients())
        out = (b[0] + b[1] * z + b[2] * zz) / (a[0] + a[1] * z + a[2] * zz)
        return np.asarray(out, np.complex64)


def random_filters(rng: np.random.Generator, spread_db: float) -> tuple[Filter, ...]:
    """Draw a low shelf, a peak, a high shelf, and up to three resonances or notches."""
    gains = rng.normal(0, spread_db, 3)
    narrow = tuple(
        Filter(
            "peak",
            float(np.exp(rng.uniform(4.6, 9.2))),
            float(rng.normal(0, 5)),
            float(np.exp(rng.uniform(0.3, 2.2))),
        )
        for _ in range(int(rng.integers(0, 4)))
    )
    return (
        *narrow,
        Filter("lowshelf", float(rng.uniform(60, 300)), float(gains[0])),
        Filter("peak", float(np.exp(rng.uniform(5.3, 8.7))), float(gains[1])),
        Filter("highshelf", float(rng.uniform(3000, 9000)), float(gains[2])),
    )


def tuned(audio: Audio, ratio: float, filters: tuple[Filter, ...]) -> Audio:
    """[C, T] to [C, T / ratio]: filtered, and played `ratio` times as fast, in one FFT."""
    length = audio.shape[1]
    size = fft.next_fast_len(length + 2048, real=True)
    size += size % 2
    target = fft.next_fast_len(round(size / ratio), real=True)
    spectrum = fft.rfft(audio, size)
    for item in filters:
        spectrum *= item.response(size)
    out = fft.irfft(spectrum[:, : target // 2 + 1], target) * np.float32(target / size)
    return np.asarray(out[:, : max(int(length * target / size), 1)], np.float32)


def room(rng: np.random.Generator) -> Audio:
    """[2, T]: early reflections and a diffuse tail whose high end dies first, energy 1."""
    decay = float(np.exp(rng.uniform(np.log(0.12), np.log(1.4))))  # to -60 dB, in s
    length = int(RATE * decay) + 2048
    t = np.arange(length, dtype=np.float32) / RATE
    noise = rng.standard_normal((2, length), dtype=np.float32)
    low = noise * np.exp(-6.9 * t / decay)
    high = noise * np.exp(-6.9 * t / (decay * rng.uniform(0.25, 0.7)))
    size = fft.next_fast_len(length, real=True)
    frequency = fft.rfftfreq(size, 1 / RATE)
    split = 1 / (1 + (frequency / rng.uniform(1500, 4000)) ** 2)
    cut = 1 / (1 + (rng.uniform(60, 250) / np.maximum(frequency, 1)) ** 4)
    spectrum = (fft.rfft(low, size) * split + fft.rfft(high, size) * (1 - split)) * cut
    tail = fft.irfft(spectrum, size)[:, :length]
    gap = int(rng.uniform(0.001, 0.03) * RATE)
    out = np.zeros((2, length + gap), np.float32)
    out[:, gap:] = tail / np.sqrt(np.square(tail).sum() / 2)
    for _ in range(int(rng.integers(0, 8))):
        out[:, int(rng.uniform(0.0005, 0.03) * RATE)] += rng.normal(0, 0.15, 2).astype(np.float32)
    return out


def plate(rng: np.random.Generator) -> Audio:
    """[2, T]: a steel plate, energy 1: dense at once, bright, high frequencies arrive first.

    Bending waves travel with the root of frequency, so the delay falls with it (Arcas and Chaigne,
    "On the quality of plate reverberation", 2010).
    """
    decay = float(np.exp(rng.uniform(np.log(0.5), np.log(3.0))))  # to -60 dB, in s
    gap = int(rng.uniform(0, 0.04) * RATE)
    length = int(RATE * min(decay, 2.5)) + gap
    t = np.arange(length, dtype=np.float32) / RATE
    noise = rng.standard_normal((2, length), dtype=np.float32)
    size = fft.next_fast_len(2 * length, real=True)
    frequency = np.maximum(fft.rfftfreq(size, 1 / RATE), 20).astype(np.float32)
    bright = noise * np.exp(-6.9 * t / (decay * rng.uniform(0.35, 0.9)))
    dark = noise * np.exp(-6.9 * t / decay)
    split = 1 / (1 + (frequency / rng.uniform(1500, 6000)) ** 2)
    spectrum = fft.rfft(dark, size) * split + fft.rfft(bright, size) * (1 - split)
    spectrum *= 1 / (1 + (rng.uniform(80, 350) / frequency) ** 4)
    # A delay of d / sqrt(f) is a phase of -4 pi d sqrt(f).
    delay = rng.uniform(0.02, 0.12) * np.sqrt(200)
    spectrum *= np.exp(-4j * np.pi * delay * np.sqrt(frequency))
    tail = fft.irfft(spectrum, size)[:, : length - gap]
    out = np.zeros((2, length), np.float32)
    out[:, gap:] = tail / np.sqrt(np.square(tail).sum() / 2)
    return out


def banded(audio: Audio, decays: tuple[float, ...]) -> Audio:
    """[C, T]: bands of equal width in octaves from 300 Hz to 16 kHz die with their own decays."""
    length = audio.shape[1]
    size = fft.next_fast_len(length, real=True)
    place = np.log2(np.maximum(fft.rfftfreq(size, 1 / RATE), 1) / 300) / np.log2(16000 / 300)
    place = np.clip(place, 0, 1) * (len(decays) - 1)
    spectrum = fft.rfft(audio, size)
    t = np.arange(length, dtype=np.float32) / RATE
    out = np.zeros_like(audio)
    for band, decay in enumerate(decays):
        shape = np.clip(1 - np.abs(place - band), 0, 1).astype(np.float32)
        out += fft.irfft(spectrum * shape, size)[:, :length] * np.exp(-t / np.float32(decay))
    return out


def crushed(audio: Audio, step: int, drive: float) -> Audio:
    """[C, T]: clipped softly, and every `step`-th sample held, as old samplers do."""
    loud = np.float32(max(float(np.abs(audio).max()), 1e-6))
    audio = np.tanh(audio * (np.float32(drive) / loud)) * (loud / np.float32(np.tanh(drive)))
    held = np.repeat(audio[:, ::step], step, axis=1)
    return np.asarray(held[:, : audio.shape[1]], np.float32)


def convolved(stems: Audio, impulse: Audio) -> Audio:
    """[S, 2, T] with [2, N]: left with left and right with right, cut to T."""
    length = stems.shape[-1]
    size = fft.next_fast_len(length + impulse.shape[-1], real=True)
    spectrum = fft.rfft(stems, size) * fft.rfft(impulse, size)
    return np.asarray(fft.irfft(spectrum, size)[..., :length], np.float32)
