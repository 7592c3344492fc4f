"""Hats and cymbals of drum machines: one source of metal, cut to different lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import effects
import metals
import numpy as np
from machine_drums import Odds, kind_of
from oscillators import (
    METAL_808,
    add,
    decaying,
    envelope,
    highpassed,
    level,
    log_uniform,
    lowpassed,
    modulated,
    noise,
    one_of,
    resonator,
    risen,
    seconds,
    squares,
    times,
)
from scipy import fft
from stems import RATE

if TYPE_CHECKING:
    from oscillators import Signal

KINDS: Odds = {"squares": 3, "ring": 1, "fm": 1, "hiss": 2.5, "metal": 3.5}


def alloy(rng: np.random.Generator, length: int, low: float) -> Signal:
    """[length] at peak 1: noise above `low` Hz whose spectrum follows a random curve."""
    size = fft.next_fast_len(length, real=True)
    frequency = np.maximum(fft.rfftfreq(size, 1 / RATE), 20).astype(np.float32)
    octave = np.log2(frequency / 3000)
    bumps = rng.normal(0, rng.uniform(1, 6), 24) + rng.uniform(-4, 5) * np.linspace(-5, 3, 24)
    curve = np.interp(octave, np.linspace(-5, 3, 24), bumps).astype(np.float32)
    spectrum = fft.rfft(rng.standard_normal(size, dtype=np.float32))
    spectrum *= np.float32(10) ** (curve / 20) / np.sqrt(1 + (np.float32(low) / frequency) ** 4)
    return level(np.asarray(fft.irfft(spectrum, size)[:length], np.float32))


def source(rng: np.random.Generator, kind: str, length: int, low: float) -> Signal:
    """[length] at peak 1: metal that does not die away; most of it lies above `low` Hz."""
    tune = log_uniform(rng, 0.6, 2.2)
    if kind == "hiss":
        high = max(low * 1.5, log_uniform(rng, 5000, 20000))
        return noise(rng, length, low, high, int(rng.integers(1, 5)))
    if kind == "metal":  # a sampled plate
        decay = length / RATE
        ring = metals.ringing(rng, length, (low * 0.6, 15000), decay, int(rng.integers(5, 25)))
        body = add(alloy(rng, length, low * 0.5), level(ring[0]), log_uniform(rng, 0.03, 0.9))
        if rng.uniform() < 0.3:  # the plate's low modes, as a close microphone hears them
            gong = metals.ringing(rng, length, (200, 1100), decay, int(rng.integers(1, 7)))
            body = add(level(body), level(gong[0]), log_uniform(rng, 0.05, 0.9))
        return level(body)
    count = int(rng.integers(3, 7))
    if kind == "squares":
        own = np.array(METAL_808)[-count:] * np.exp(rng.normal(0, 0.15, count))
        body = squares(rng, length, own * tune)
    elif kind == "ring":
        body = np.zeros(length, np.float32)
        for _ in range(1 + count // 2):
            pair = squares(rng, length, np.array([log_uniform(rng, 300, 2500)]))
            body += pair * squares(rng, length, np.array([log_uniform(rng, 900, 7000)]))
    else:
        t = times(length)
        body = np.zeros(length, np.float32)
        for _ in range(max(count // 2, 1)):
            depth = np.full(1, log_uniform(rng, 1.5, 15), np.float32)
            body += modulated(t, log_uniform(rng, 400, 4000) * tune, rng.uniform(0.4, 3.3), depth)
    if rng.uniform() < 0.3:
        body = resonator(body, low * rng.uniform(1, 2), rng.uniform(0.5, 3))
    body = level(highpassed(body, low, int(rng.integers(1, 5))))
    if rng.uniform() < 0.35:
        body += noise(rng, length, low, 16000) * np.float32(log_uniform(rng, 0.1, 1))
    return level(body)


def hats(rng: np.random.Generator, lean: Odds, longest: float) -> dict[str, Signal]:
    """Return closed, pedal and open [T]: one source, three lengths; now and then a shaker.

    `longest` is the open one's decay in s.
    """
    kind = kind_of(rng, KINDS, lean)
    low = log_uniform(rng, 250, 1500) if rng.uniform() < 0.15 else log_uniform(rng, 1500, 9000)
    body = source(rng, kind, int(RATE * min(longest * 6, 2.2)) + 2000, low)
    shortest = log_uniform(rng, 0.008, min(0.09, longest / 2))
    between = log_uniform(rng, shortest, min(shortest * 3, longest))
    stick = log_uniform(rng, 2000, 9000) if rng.uniform() < 0.4 else 0.0
    found = {}
    for role, decay in (("closed", shortest), ("pedal", between), ("open", longest)):
        count = min(len(body), int(RATE * decay * 7) + 600)
        t = times(count)
        # An open hat that is held would never seem to be struck.
        out = body[:count] * (decaying(t, decay) if role == "open" else envelope(rng, t, decay))
        if role == "pedal":
            out = lowpassed(out, log_uniform(rng, 3000, 16000), 1)
        if stick:
            t = seconds(0.02)
            tick = noise(rng, t.size, stick, 16000) * decaying(t, 0.002)
            out = add(level(out), tick, rng.uniform(0.1, 0.8))
        found[role] = out
    if rng.uniform() < 0.1:
        found["closed"] = shaken(rng)
    return found


def shaken(rng: np.random.Generator) -> Signal:
    """[T]: a shaker, or a tambourine's jingles."""
    decay = log_uniform(rng, 0.015, 0.08)
    t = seconds(0.3)
    if rng.uniform() < 0.5:
        low = log_uniform(rng, 2500, 7000)
        grains = noise(rng, t.size, low, low * rng.uniform(1.5, 3)) * decaying(t, decay)
        return risen(grains, log_uniform(rng, 0.002, 0.03))
    jingles = source(rng, "metal", t.size, log_uniform(rng, 3000, 7000))
    gain = decaying(t, decay)
    for _ in range(int(rng.integers(1, 4))):
        after = t - np.float32(rng.uniform(0.005, 0.08))
        gain += np.where(after > 0, np.exp(-np.maximum(after, 0) / decay), 0).astype(np.float32)
    return jingles * gain


def cymbals(rng: np.random.Generator, lean: Odds, hat: float) -> dict[str, Signal]:
    """Return crash, ride and bell [T]: the first longer than an open hat, the others pitched.

    `hat` is that one's decay in s: within a machine the longer one is the cymbal.
    """
    kind = kind_of(rng, KINDS | {"hiss": 1.5, "metal": 6}, lean)
    decay = log_uniform(rng, 0.12, 0.4) if rng.uniform() < 0.3 else log_uniform(rng, 0.35, 1.4)
    decay = max(decay, hat * rng.uniform(1.2, 3))
    length = int(RATE * min(decay * 5, 3.2))
    t = times(length)
    body = source(rng, kind, length, log_uniform(rng, 250, 5500))
    if rng.uniform() < 0.5:  # the high end dies first, most often
        falls = decay * 2 ** np.cumsum(rng.normal(-0.3, 0.4, 5))
        crash = level(effects.banded(body[None], tuple(falls.tolist()))[0])
    else:
        crash = body * envelope(rng, t, decay)
    if rng.uniform() < 0.5:
        crash = risen(crash, log_uniform(rng, 0.0005, 0.03))
    if rng.uniform() < 0.04:
        crash = crash[::-1].copy()
    base = log_uniform(rng, 350, 1600)
    pings = base * np.array([1, 1.48, 2.09, 2.76, 3.9, 5.4])[: int(rng.integers(2, 7))]
    short = decay * rng.uniform(0.2, 1)
    tone = np.zeros(length, np.float32)
    for ping in pings * rng.uniform(0.96, 1.04, len(pings)):
        fall = decaying(t, short * rng.uniform(0.1, 1))
        tone += np.float32(rng.uniform(0.2, 1)) * np.sin(np.float32(2 * np.pi * ping) * t) * fall
    wash = body * decaying(t, short) if rng.uniform() < 0.7 else crash
    ride = add(level(wash), level(tone), log_uniform(rng, 0.1, 1.5))
    bell = add(level(tone), level(wash), log_uniform(rng, 0.03, 0.4))
    if one_of(rng, {"tone": 2, "squares": 1}) == "squares":
        pair = squares(rng, length, pings[:2] * log_uniform(rng, 1, 2))
        pair = resonator(pair, base * rng.uniform(1, 4), rng.uniform(0.7, 3))
        bell = add(level(pair * envelope(rng, t, short)), level(wash), log_uniform(rng, 0.03, 0.3))
    if rng.uniform() < 0.2:  # one cymbal is all there is
        ride = crash
    return {"crash": crash, "ride": ride, "bell": ride if rng.uniform() < 0.2 else bell}
