"""Kicks, snares, claps and rims of drum machines: each draw is another circuit or another sample.

After the TR-808's and TR-909's service notes (bridged-T resonators, a swept sine, noise beside two
oscillators, a clap of three bursts and a tail), FM (Chowning, 1973) and membranes' modes.
All sounds are mono [T] float32 of any level.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from oscillators import (
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
    swept,
    times,
)
from synth import MEMBRANE

if TYPE_CHECKING:
    from collections.abc import Callable

    from oscillators import Signal

Odds = dict[str, float]
# What each technology is made of most: factors on the odds of kinds.
LEANS: dict[str, Odds] = {
    "analogue": {"bridged": 6, "swept": 2, "squares": 6, "hiss": 2, "burst": 2},
    "digital": {"swept": 5, "ring": 3, "metal": 4, "hiss": 1.5, "burst": 2},
    "sampled": {"membrane": 6, "metal": 6, "burst": 1.5},
    "fm": {"fm": 8, "ring": 3, "hiss": 1.5},
    "any": {},
}


def kind_of(rng: np.random.Generator, odds: Odds, lean: Odds) -> str:
    """Return a kind, those that a technology leans to more often."""
    return one_of(rng, {kind: value * lean.get(kind, 1) for kind, value in odds.items()})


def bridged(rng: np.random.Generator, pitch: float, decay: float) -> Signal:
    """[T]: a struck bridged-T resonator: a sine that starts a little sharp."""
    t = seconds(min(decay * 6.5, 2.5))
    start = pitch * rng.uniform(1, 2.2)
    return swept(t, start, pitch, log_uniform(rng, 0.002, 0.025)) * decaying(t, decay)


def membrane(rng: np.random.Generator, pitch: float, decay: float, bright: float) -> Signal:
    """[T]: the modes of a struck head; `bright` is the second mode's share."""
    t = seconds(min(decay * 6.5, 2))
    bend, slide = rng.uniform(1, 1.4), log_uniform(rng, 0.01, 0.08)
    out = np.zeros(t.size, np.float32)
    for index, ratio in enumerate(MEMBRANE):
        mode = pitch * ratio * (1 if index == 0 else rng.uniform(0.93, 1.07))
        gain = 1.0 if index == 0 else bright * rng.uniform(0.3, 1) / index
        fall = decay / (1 + index * rng.uniform(0.3, 1))
        out += np.float32(gain) * swept(t, mode * bend, mode, slide) * decaying(t, fall)
    return out


def click(rng: np.random.Generator) -> Signal:
    """[T] at peak 1: an impulse, a blip, a step or a burst of noise of 0.5 to 30 ms."""
    kind = one_of(rng, {"impulse": 1, "blip": 1, "step": 0.7, "burst": 2})
    length = log_uniform(rng, 0.0005, 0.006)
    t = seconds(max(length * 6, 0.004))
    if kind == "burst":
        length = log_uniform(rng, 0.001, 0.03)
        t = seconds(length * 5)
        low = log_uniform(rng, 200, 4000)
        return noise(rng, t.size, low, low * log_uniform(rng, 1.5, 12)) * decaying(t, length)
    if kind == "blip":
        start = log_uniform(rng, 800, 6000)
        return swept(t, start, start * rng.uniform(0.1, 1), length) * decaying(t, length)
    if kind == "step":
        return np.asarray((t < length).astype(np.float32) * decaying(t, length * 2))
    out = np.zeros(t.size, np.float32)
    out[:2] = 1
    return level(lowpassed(out, log_uniform(rng, 1500, 16000)))


def kick(rng: np.random.Generator, lean: Odds, pitch: float) -> Signal:
    """[T]: a kick whose sweep ends at `pitch` Hz."""
    kind = kind_of(rng, {"bridged": 3, "swept": 4, "fm": 1, "hard": 1, "membrane": 2}, lean)
    decay = log_uniform(rng, 0.02, 0.1) if rng.uniform() < 0.15 else log_uniform(rng, 0.07, 0.5)
    if kind == "bridged":
        body = bridged(rng, pitch, log_uniform(rng, 0.03, 1.2 if rng.uniform() < 0.3 else 0.4))
    elif kind == "fm":
        t = seconds(min(decay * 6, 2))
        index = np.float32(log_uniform(rng, 0.5, 8)) * decaying(t, log_uniform(rng, 0.01, 0.1))
        body = modulated(t, pitch, float(rng.choice([0.5, 1, 1.41, 2, 3])), index)
        body *= envelope(rng, t, decay)
    elif kind == "membrane":
        body = membrane(rng, pitch, min(decay, 0.3), rng.uniform(0.1, 0.8))
        dull = noise(rng, len(body), 60, log_uniform(rng, 800, 6000), 1)
        room = dull * decaying(times(len(body)), decay * rng.uniform(0.1, 0.5))
        body = add(level(body), room, log_uniform(rng, 0.02, 0.3))
    else:
        t = seconds(min(decay * 6, 2))
        shape = one_of(rng, {"sine": 6, "triangle": 1, "square": 0.4})
        body = swept(
            t, pitch * log_uniform(rng, 1.5, 14), pitch, log_uniform(rng, 0.006, 0.07), shape
        )
        body *= envelope(rng, t, decay)
    if kind == "hard" or rng.uniform() < 0.25:
        drive = log_uniform(rng, 1.5, 30 if kind == "hard" else 6)
        body = np.tanh(level(body) * np.float32(drive))
        if rng.uniform() < 0.6:
            body = lowpassed(body, log_uniform(rng, 400, 9000))
    if rng.uniform() < 0.2:
        body = risen(body, log_uniform(rng, 0.001, 0.05))
    body = level(body)
    if rng.uniform() < 0.75:
        body = add(body, click(rng), log_uniform(rng, 0.03, 0.9))
    if rng.uniform() < 0.12:  # a snare's or a hat's noise over it
        body = add(body, hiss(rng, log_uniform(rng, 0.01, 0.12)), log_uniform(rng, 0.03, 0.4))
    if rng.uniform() < 0.12:
        body = add(
            level(body), level(kick(rng, {}, pitch * rng.uniform(1, 1.6))), rng.uniform(0.2, 1)
        )
    return body


def hiss(rng: np.random.Generator, decay: float) -> Signal:
    """[T] at peak 1: a snare's noise, from dull to thin."""
    t = seconds(min(decay * 6.5, 2))
    low = log_uniform(rng, 180, 5000)
    high = max(low * 2, log_uniform(rng, 1200 if rng.uniform() < 0.2 else 4000, 20000))
    return noise(rng, t.size, low, high, int(rng.integers(1, 4))) * envelope(rng, t, decay)


def snare(rng: np.random.Generator, lean: Odds) -> Signal:
    """[T]: a snare; whatever its tone, it has noise."""
    odds = {"bridged": 3, "swept": 3, "ring": 0.7, "fm": 0.8, "burst": 2, "membrane": 2.5}
    kind = kind_of(rng, odds, lean)
    decay = log_uniform(rng, 0.02, 0.35)
    if kind == "burst":  # all noise, at times one narrow band, at times long
        long = log_uniform(rng, 0.03, 0.9) if rng.uniform() < 0.3 else decay
        centre, octaves = log_uniform(rng, 500, 6500), rng.uniform(0.3, 4)
        t = seconds(min(long * 6, 2))
        wide = float(2 ** (octaves / 2))
        if rng.uniform() < 0.25:  # a band that moves: dull noise carried by a sweep
            carrier = swept(t, centre * rng.uniform(0.6, 2.5), centre, long * rng.uniform(0.2, 2))
            burst = noise(rng, t.size, 20, centre * (wide - 1) / wide) * carrier
        else:
            burst = noise(rng, t.size, centre / wide, centre * wide, int(rng.integers(1, 4)))
        return thumped(rng, burst * envelope(rng, t, long))
    low = log_uniform(rng, 300, 620) if rng.uniform() < 0.15 else log_uniform(rng, 120, 320)
    ring = decay * log_uniform(rng, 0.25, 1.5)
    if kind == "membrane":
        body = membrane(rng, low, ring, rng.uniform(0.3, 1.2))
    elif kind == "fm":
        t = seconds(min(ring * 6.5, 1.5))
        index = np.float32(log_uniform(rng, 0.5, 10)) * decaying(t, ring * rng.uniform(0.1, 1))
        body = modulated(t, low, rng.uniform(0.3, 4), index) * envelope(rng, t, ring)
    elif kind == "bridged":
        body = level(bridged(rng, low, ring))
        body = add(
            body,
            level(bridged(rng, low * rng.uniform(1.5, 2.1), ring * rng.uniform(0.3, 1))),
            rng.uniform(0.2, 1),
        )
    else:
        t = seconds(min(ring * 6.5, 1.5))
        shape = one_of(rng, {"sine": 2, "triangle": 2, "square": 0.3})
        glide = log_uniform(rng, 0.004, 0.05)
        high = low * rng.uniform(1.3, 2)
        body = swept(t, low * rng.uniform(1, 4), low, glide, shape)
        other = swept(t, high * rng.uniform(1, 3), high, glide, shape)
        body = body * other * 2 if kind == "ring" else body + np.float32(rng.uniform(0, 1)) * other
        body = body * envelope(rng, t, ring)
    share = log_uniform(rng, 0.2, 0.9)
    out = add(level(body, 1 - share), hiss(rng, decay * log_uniform(rng, 0.5, 2)), share)
    if rng.uniform() < 0.4:
        out = add(out, click(rng), rng.uniform(0.1, 0.7))
    if rng.uniform() < 0.2:
        out = np.tanh(level(out) * np.float32(log_uniform(rng, 1.5, 10)))
    if rng.uniform() < 0.08:  # as through a low-pass
        return thumped(rng, lowpassed(out, log_uniform(rng, 700, 4000), int(rng.integers(1, 6))))
    return brightened(rng, thumped(rng, out), decay)


def brightened(rng: np.random.Generator, body: Signal, decay: float) -> Signal:
    """[T]: with more noise where hardly any energy lies above 2 kHz: that would be a tom."""
    least = log_uniform(rng, 0.03, 0.15)
    power = float(np.square(body).sum())
    if np.square(highpassed(body, 2000, 4)).sum() >= least * power:
        return body
    wires = highpassed(hiss(rng, decay), 1500, 2)
    size = least * power / max(float(np.square(wires).sum()), 1e-9)
    return add(body, wires, float(np.sqrt(size)))


def thumped(rng: np.random.Generator, body: Signal) -> Signal:
    """[T]: one in six with a kick's sweep below, as layered snares have."""
    if rng.uniform() > 1 / 6:
        return body
    low = bridged(rng, log_uniform(rng, 42, 110), log_uniform(rng, 0.03, 0.15))
    return add(level(body), level(low), log_uniform(rng, 0.2, 1.2))


def clap(rng: np.random.Generator) -> Signal:
    """[T]: bursts of band-passed noise some 10 ms apart and a tail."""
    centre, octaves = log_uniform(rng, 650, 2600), rng.uniform(0.4, 2.5)
    wide = float(2 ** (octaves / 2))
    tail = log_uniform(rng, 0.03, 0.35)
    t = seconds(min(0.06 + tail * 6.5, 2))
    gain = np.float32(rng.uniform(0.15, 0.9)) * decaying(t, tail)
    gap, fall = rng.uniform(0.006, 0.016), log_uniform(rng, 0.002, 0.008)
    for index in range(int(rng.integers(2, 6))):
        after = t - np.float32(index * gap * rng.uniform(0.9, 1.1))
        gain = np.maximum(gain, np.where(after >= 0, np.exp(-np.maximum(after, 0) / fall), 0))
    burst = noise(rng, t.size, centre / wide, centre * wide, int(rng.integers(1, 4)))
    out = burst * gain.astype(np.float32)
    if rng.uniform() < 0.4:  # some of the whole noise, too
        out = add(
            level(out), level(noise(rng, t.size, 500, 12000, 1) * gain), rng.uniform(0.05, 0.4)
        )
    return np.asarray(out, np.float32)


def knock(rng: np.random.Generator) -> Signal:
    """[T]: a rim shot of two resonators, a clave, a woodblock, or a finger snap."""
    kind = one_of(rng, {"rim": 5, "clave": 1, "block": 1.2, "snap": 1.5})
    t = seconds(0.25)
    pulse = noise(rng, t.size, 200, 16000, 1) * decaying(t, log_uniform(rng, 0.0003, 0.003))
    if kind == "snap":
        long = noise(rng, t.size, 800, 9000) * decaying(t, log_uniform(rng, 0.005, 0.04))
        return resonator(
            add(pulse, long, rng.uniform(0.1, 0.6)), log_uniform(rng, 1100, 3200), rng.uniform(1, 5)
        )
    if kind == "rim":
        modes = (log_uniform(rng, 350, 1100), log_uniform(rng, 1300, 3500))
    else:
        pitch = log_uniform(rng, 1400, 3200) if kind == "clave" else log_uniform(rng, 500, 1400)
        modes = (pitch, pitch * rng.uniform(1.3, 2.8))
    out = pulse * np.float32(rng.uniform(0.05, 0.6))
    for index, mode in enumerate(modes):
        fall = log_uniform(rng, 0.004, 0.035)
        tone = level(resonator(pulse, mode, np.pi * mode * fall))
        out += np.float32(1 if index == 0 else rng.uniform(0.1, 1)) * tone
    return out


def rolled(rng: np.random.Generator, lean: Odds) -> dict[str, Signal]:
    """Return the sounds of a machine's snare, rim and side: of one snare or of several."""
    own = snare(rng, lean)
    first = own
    chance = rng.uniform()
    if chance < 0.12:
        first = clap(rng)
    elif chance < 0.25:
        first = add(level(own), level(clap(rng)), rng.uniform(0.2, 1), rng.uniform(0, 0.012))
    others: dict[str, Callable[[], Signal]] = {
        "clap": lambda: clap(rng),
        "snare": lambda: snare(rng, lean),
        "both": lambda: add(level(own), level(knock(rng)), rng.uniform(0.2, 1)),
        "knock": lambda: knock(rng),
    }
    rim = one_of(rng, {"clap": 4, "snare": 3, "both": 2, "knock": 0.5})
    side = one_of(rng, {"clap": 0.7, "snare": 0.4, "knock": 6})
    return {"snare": first, "rim": others[rim](), "side": others[side]()}
