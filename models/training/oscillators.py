"""What drum machines are made of: envelopes, swept and modulated oscillators, noise, resonators.

All signals are mono [T] float32 at `RATE`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.signal import lfilter
from stems import RATE

Signal = NDArray[np.float32]
# Square-wave oscillators of the TR-808's metallic voices, in Hz.
METAL_808 = (205.3, 304.4, 369.6, 522.7, 540.0, 800.0)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def one_of(rng: np.random.Generator, odds: dict[str, float]) -> str:
    """Return one of the names; odds need not sum to 1."""
    weights = np.array(list(odds.values()))
    return str(rng.choice(list(odds), p=weights / weights.sum()))


def times(count: int) -> Signal:
    """[count]: the samples' times in s."""
    return np.arange(count, dtype=np.float32) / np.float32(RATE)


def seconds(length: float) -> Signal:
    """[T]: the times of the samples of `length` seconds."""
    return times(max(int(RATE * length), 64))


def level(signal: Signal, peak: float = 1.0) -> Signal:
    """[T]: scaled to a peak."""
    return signal * np.float32(peak / max(float(np.abs(signal).max()), 1e-9))


def add(first: Signal, second: Signal, gain: float, start: float = 0.0) -> Signal:
    """[T']: the second, at `gain` and `start` s, on the first; as long as the longer one."""
    offset = int(start * RATE)
    out = np.zeros(max(len(first), offset + len(second)), np.float32)
    out[: len(first)] = first
    out[offset : offset + len(second)] += second * np.float32(gain)
    return out


def decaying(t: Signal, decay: float) -> Signal:
    """[T]: an exponential of time constant `decay` in s."""
    return np.asarray(np.exp(-t / np.float32(decay)), np.float32)


def envelope(rng: np.random.Generator, t: Signal, decay: float) -> Signal:
    """[T]: exponential, held and then exponential, or falling on a power of time to an end.

    `decay` is the time constant in s, for the last about that of the same length.
    """
    kind = rng.uniform()
    if kind < 0.55:
        return decaying(t, decay)
    if kind < 0.8:
        return decaying(np.maximum(t - np.float32(decay * rng.uniform(0.2, 1.2)), 0), decay)
    end = decay * rng.uniform(1.2, 3)
    return np.asarray(np.clip(1 - t / end, 0, 1) ** rng.uniform(0.4, 2), np.float32)


def risen(signal: Signal, rise: float) -> Signal:
    """[T]: with a soft attack of time constant `rise` in s."""
    return signal * (1 - decaying(times(len(signal)), rise))


def swept(t: Signal, start: float, end: float, glide: float, shape: str = "sine") -> Signal:
    """[T]: an oscillator that falls from `start` to `end` Hz with time constant `glide` in s."""
    phase = end * t + (start - end) * glide * (1 - np.exp(-t / glide))
    return waved(phase.astype(np.float32), shape)


def waved(phase: Signal, shape: str) -> Signal:
    """[T]: phase in turns to a sine, triangle, square or saw."""
    turn = phase - np.floor(phase)
    if shape == "sine":
        return np.asarray(np.sin(np.float32(2 * np.pi) * turn), np.float32)
    if shape == "triangle":
        return np.asarray(4 * np.abs(turn - 0.5) - 1, np.float32)
    if shape == "square":
        return np.where(turn < 0.5, np.float32(1), np.float32(-1))
    return 2 * turn - 1


def modulated(t: Signal, carrier: float, ratio: float, index: Signal) -> Signal:
    """[T]: two-operator FM (Chowning, 1973): a sine at `carrier` Hz, its phase moved by another."""
    inner = np.sin(np.float32(2 * np.pi * carrier * ratio) * t)
    return np.asarray(np.sin(np.float32(2 * np.pi * carrier) * t + index * inner), np.float32)


def noise(rng: np.random.Generator, length: int, low: float, high: float, order: int = 2) -> Signal:
    """[length]: noise between two frequencies in Hz, at peak 1; `order` 1 falls by 6 dB/octave."""
    size = fft.next_fast_len(length, real=True)
    frequency = np.maximum(fft.rfftfreq(size, 1 / RATE), 1).astype(np.float32)
    spectrum = fft.rfft(rng.standard_normal(size, dtype=np.float32))
    spectrum *= 1 / np.sqrt(
        (1 + (np.float32(low) / frequency) ** (2 * order))
        * (1 + (frequency / np.float32(high)) ** (2 * order))
    )
    return level(np.asarray(fft.irfft(spectrum, size)[:length], np.float32))


def lowpassed(signal: Signal, edge: float, order: int = 2) -> Signal:
    """[T]: zero-phase low-pass at `edge` Hz."""
    size = fft.next_fast_len(len(signal) + 256, real=True)
    frequency = fft.rfftfreq(size, 1 / RATE).astype(np.float32)
    shape = 1 / np.sqrt(1 + (frequency / np.float32(edge)) ** (2 * order))
    out = fft.irfft(fft.rfft(signal, size) * shape, size)[: len(signal)]
    return np.asarray(out, np.float32)


def highpassed(signal: Signal, edge: float, order: int) -> Signal:
    """[T]: zero-phase high-pass at `edge` Hz."""
    size = fft.next_fast_len(len(signal) + 256, real=True)
    frequency = np.maximum(fft.rfftfreq(size, 1 / RATE), 1).astype(np.float32)
    shape = 1 / np.sqrt(1 + (np.float32(edge) / frequency) ** (2 * order))
    return np.asarray(fft.irfft(fft.rfft(signal, size) * shape, size)[: len(signal)], np.float32)


def resonator(signal: Signal, centre: float, q: float) -> Signal:
    """[T]: a band-pass of the Audio EQ Cookbook (R. Bristow-Johnson), 0 dB at `centre` Hz."""
    w = 2 * np.pi * min(centre, 0.45 * RATE) / RATE
    alpha = np.sin(w) / (2 * q)
    a = np.array([1 + alpha, -2 * np.cos(w), 1 - alpha])
    out = lfilter(np.array([alpha, 0, -alpha]) / a[0], a / a[0], signal)
    return np.asarray(out, np.float32)


def squares(rng: np.random.Generator, length: int, frequencies: NDArray[np.float64]) -> Signal:
    """[length]: square waves at random phases, summed."""
    t = times(length)
    out = np.zeros(length, np.float32)
    for frequency in frequencies:
        out += waved(np.float32(frequency) * t + np.float32(rng.uniform()), "square")
    return out
