"""What records do to a drum mix, done to its stems [5, 2, T], which still sum to the treated mix.

Each treatment is a gain that all stems share, a linear operation on each, or a part of the mix's
change that each stem takes by its magnitude. Peaks are near 1 when a treatment begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from oscillators import log_uniform
from scipy import fft
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.signal import lfilter
from stems import RATE, Audio, decibels

if TYPE_CHECKING:
    from collections.abc import Callable

    from oscillators import Signal

BLOCK = 64  # samples over which an envelope is taken


def followed(mix: Audio, attack: float, release: float) -> Signal:
    """[2, T] to [T / BLOCK]: the envelope, rising and falling with time constants in s."""
    level = np.abs(mix).max(axis=0)
    level = np.pad(level, (0, -len(level) % BLOCK)).reshape(-1, BLOCK).max(axis=1)
    # A peak that falls exponentially is a running maximum in logarithms along a slope.
    slope = BLOCK / (RATE * release)
    ramp = np.arange(len(level)) * slope
    held = np.exp(np.maximum.accumulate(np.log(np.maximum(level, 1e-6)) + ramp) - ramp)
    keep = np.exp(-BLOCK / (RATE * attack))
    return np.asarray(lfilter([1 - keep], [1, -keep], held), np.float32)


def spread(gain: Signal, length: int) -> Signal:
    """[T / BLOCK] to [length]: between blocks along straight lines."""
    places = np.arange(length, dtype=np.float32) / BLOCK - 0.5
    return np.asarray(np.interp(places, np.arange(len(gain)), gain), np.float32)


def compressed(rng: np.random.Generator, stems: Audio) -> Audio:
    """Bus compression: the mix's envelope above a threshold turns all stems down alike."""
    envelope = followed(stems.sum(0), log_uniform(rng, 0.0003, 0.03), log_uniform(rng, 0.03, 0.4))
    top = max(float(envelope.max()), 1e-6)
    threshold = top * decibels(rng.uniform(-30, -6))
    ratio = rng.uniform(0.3, 0.95)  # 1 - 1 / ratio, as engineers count
    gain = np.power(np.maximum(envelope, threshold) / threshold, -ratio)
    return stems * spread(np.asarray(gain, np.float32), stems.shape[-1])


def limited(rng: np.random.Generator, stems: Audio) -> Audio:
    """A limiter that looks ahead: no peak of the mix is louder than the ceiling."""
    peak = np.abs(stems.sum(0)).max(axis=0)
    ceiling = max(float(peak.max()), 1e-6) * decibels(rng.uniform(-15, -2))
    window = int(log_uniform(rng, 0.001, 0.03) * RATE)
    over = maximum_filter1d(np.maximum(peak / np.float32(ceiling), 1), window)
    return np.asarray(stems / uniform_filter1d(over, window // 2 + 1), np.float32)


def clipped(rng: np.random.Generator, stems: Audio) -> Audio:
    """Soft or hard clipping of the mix as a gain for every sample; near 0 it is the slope there."""
    mix = stems.sum(0)
    loud = max(float(np.abs(mix).max()), 1e-6)
    drive = np.float32(log_uniform(rng, 1.2, 8) / loud)
    x = np.maximum(np.abs(mix) * drive, np.float32(1e-6))
    gain = np.tanh(x) / x if rng.uniform() < 0.6 else np.minimum(1 / x, 1)
    return np.asarray(stems * gain, np.float32)


def rounded(rng: np.random.Generator, stems: Audio) -> Audio:
    """Fewer bits: the mix's rounding error goes to each stem by its magnitude in that sample."""
    mix = stems.sum(0)
    steps = np.float32(2 ** rng.uniform(4.5, 11) / max(float(np.abs(mix).max()), 1e-6))
    size = np.abs(stems)
    share = (np.round(mix * steps) / steps - mix) / np.maximum(size.sum(0), np.float32(1e-9))
    return np.asarray(stems + size * share, np.float32)


def held(rng: np.random.Generator, stems: Audio) -> Audio:
    """A lower rate: samples are held, with all the images and aliases."""
    rate = log_uniform(rng, 9000, 38000)
    index = np.floor(np.arange(stems.shape[-1]) * (rate / RATE)) * (RATE / rate)
    return np.asarray(np.take(stems, index.astype(np.int64), axis=-1), np.float32)


def taped(rng: np.random.Generator, stems: Audio) -> Audio:
    """Tape: soft clipping, a roll-off, and a wow that moves all stems in time alike."""
    length = stems.shape[-1]
    stems = rolled_off(stems, log_uniform(rng, 4000, 16000), rng.uniform(20, 60))
    mix = stems.sum(0)
    x = np.abs(mix) * np.float32(rng.uniform(0.3, 2.5) / max(float(np.abs(mix).max()), 1e-6))
    x = np.maximum(x, np.float32(1e-6))
    stems = stems * (np.tanh(x) / x)
    t = np.arange(length) / RATE
    move = np.zeros(length)
    for low, high, depth in ((0.3, 3, 0.002), (4, 12, 0.0002)):  # wow and flutter
        rate, phase = log_uniform(rng, low, high), rng.uniform(0, 6.28)
        move += rng.uniform(0, depth) * np.sin(2 * np.pi * rate * t + phase)
    places = np.clip(np.arange(length) + move * RATE, 0, length - 1.001)
    index = places.astype(np.int64)
    part = (places - index).astype(np.float32)
    first, second = np.take(stems, index, axis=-1), np.take(stems, index + 1, axis=-1)
    return np.asarray(first + (second - first) * part, np.float32)


def rolled_off(stems: Audio, high: float, low: float) -> Audio:
    """[5, 2, T]: one-pole filters: less above `high` and below `low` Hz."""
    keep = float(np.exp(-2 * np.pi * high / RATE))
    stems = lfilter([1 - keep], [1, -keep], stems).astype(np.float32)
    keep = float(np.exp(-2 * np.pi * low / RATE))
    return np.asarray(lfilter([(1 + keep) / 2, -(1 + keep) / 2], [1, -keep], stems), np.float32)


def widened(rng: np.random.Generator, stems: Audio) -> Audio:
    """Mono, narrower, or wider."""
    width = np.float32(0.0 if rng.uniform() < 0.4 else rng.uniform(0.2, 1.8))
    middle = stems.mean(axis=1, keepdims=True)
    return np.asarray(middle + (stems - middle) * width, np.float32)


def ducked(rng: np.random.Generator, stems: Audio) -> Audio:
    """Side chain: the kick turns the other stems down."""
    envelope = followed(stems[0], 0.002, log_uniform(rng, 0.05, 0.4))
    depth = rng.uniform(0.3, 0.95)
    gain = 1 - np.float32(depth) * np.clip(envelope / max(float(envelope.max()), 1e-6), 0, 1)
    out = stems.copy()
    out[1:] *= spread(np.asarray(gain, np.float32), stems.shape[-1])
    return out


def gated(rng: np.random.Generator, stems: Audio) -> Audio:
    """A gate on the mix: what is quiet is shut."""
    envelope = followed(stems.sum(0), 0.001, log_uniform(rng, 0.01, 0.12))
    opened = envelope > float(envelope.max()) * decibels(rng.uniform(-32, -14))
    return stems * spread(uniform_filter1d(opened.astype(np.float32), 5), stems.shape[-1])


def repeated(rng: np.random.Generator, stems: Audio) -> Audio:
    """Beat repeats: a short piece again and again in place of what follows, now and then."""
    out = stems.copy()
    beat = rng.uniform(0.35, 0.7) * RATE
    fade = np.linspace(0, 1, 88, dtype=np.float32)
    for _ in range(int(rng.integers(1, 4))):
        length = max(int(beat / float(rng.choice([1, 2, 3, 4, 8]))), 400)
        start = int(rng.uniform(0, stems.shape[-1] - 4 * length))
        piece = stems[..., start : start + length].copy()
        piece[..., :88] *= fade
        piece[..., -88:] *= fade[::-1]
        for turn in range(int(rng.integers(2, 5))):
            begin = start + turn * length
            room = out[..., begin : begin + length]
            room[...] = piece[..., : room.shape[-1]]
    return out


def coded(rng: np.random.Generator, stems: Audio) -> Audio:
    """A lossy codec: weak bins of the mix and the top of the spectrum are gone in all stems."""
    size, hop = 2048, 1024
    window = np.sin(np.pi * (np.arange(size) + 0.5) / size).astype(np.float32)
    length = stems.shape[-1]
    padded = np.pad(stems, ((0, 0), (0, 0), (hop, hop + size - length % hop)))
    count = (padded.shape[-1] - size) // hop + 1
    frames = np.lib.stride_tricks.sliding_window_view(padded, size, axis=-1)[:, :, ::hop][
        :, :, :count
    ]
    spectrum = fft.rfft(frames * window)
    power = np.abs(spectrum.sum(axis=0)).mean(axis=0)  # [frames, bins]
    near = uniform_filter1d(power, 33, axis=-1)
    cut = int(rng.uniform(11000, 17000) / RATE * size)
    gain = np.where(power > near * np.float32(rng.uniform(0.05, 0.5)), 1, rng.uniform(0, 0.3))
    gain[:, cut:] = 0
    parts = fft.irfft(spectrum * gain.astype(np.float32), size).astype(np.float32) * window
    out = np.zeros_like(padded)
    halves = parts.reshape(*stems.shape[:2], count, 2, hop)
    body = out[..., : (count + 1) * hop].reshape(*stems.shape[:2], count + 1, hop)
    body[:, :, :-1] += halves[:, :, :, 0]
    body[:, :, 1:] += halves[:, :, :, 1]
    return out[..., hop : hop + length]


TREATMENTS: dict[str, tuple[Callable[[np.random.Generator, Audio], Audio], float]] = {
    "repeated": (repeated, 0.06),
    "ducked": (ducked, 0.12),
    "gated": (gated, 0.06),
    "widened": (widened, 0.25),
    "compressed": (compressed, 0.45),
    "held": (held, 0.08),
    "rounded": (rounded, 0.1),
    "taped": (taped, 0.12),
    "clipped": (clipped, 0.25),
    "limited": (limited, 0.3),
    "coded": (coded, 0.1),
}


def treated(rng: np.random.Generator, stems: Audio) -> Audio:
    """[5, 2, T]: some of the treatments, in the order in which records have them."""
    for act, odds in TREATMENTS.values():
        if rng.uniform() < odds:
            stems = act(rng, stems)
    return np.asarray(stems, np.float32)
