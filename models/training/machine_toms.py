"""Toms of drum machines, and percussion that people put there: one sound at three pitches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from machine_drums import Odds, bridged, click, kind_of, membrane
from oscillators import (
    add,
    decaying,
    envelope,
    level,
    log_uniform,
    lowpassed,
    modulated,
    noise,
    one_of,
    resonator,
    seconds,
    squares,
    swept,
)

if TYPE_CHECKING:
    from oscillators import Signal

KINDS: Odds = {"bridged": 4, "swept": 3, "fm": 1, "membrane": 4, "conga": 0.6, "bell": 0.2}
KINDS |= {"block": 0.15, "zap": 0.3}


def toms(rng: np.random.Generator, lean: Odds, kick_pitch: float) -> list[Signal]:
    """Return three sounds [T] from high to low, all above the machine's kick in pitch.

    One seed draws all three, so that they differ by their pitch and a little in length.
    """
    kind = kind_of(rng, KINDS, lean)
    span = {"conga": (130, 320), "bell": (250, 550), "block": (400, 1100), "zap": (60, 300)}
    low, high = span.get(kind, (58, 150))
    ratio = log_uniform(rng, 1.12, 1.5)
    pitch = max(log_uniform(rng, low, high), kick_pitch * log_uniform(rng, 1.1, 1.7))
    decay = log_uniform(rng, 0.05, 0.45) * (0.4 if kind in ("block", "zap") else 1)
    longer = rng.uniform(0.8, 1.3)
    seed = int(rng.integers(1 << 62))
    sounds = []
    for place in (2, 1, 0):
        own = np.random.default_rng(seed)
        tuned = float(pitch * ratio**place * np.exp(rng.normal(0, 0.02)))
        sounds.append(struck(own, kind, tuned, decay * longer ** (1 - place)))
    return sounds


def struck(rng: np.random.Generator, kind: str, pitch: float, decay: float) -> Signal:
    """[T]: one tom of a kind at `pitch` Hz."""
    t = seconds(min(decay * 6.5, 2))
    if kind == "bridged":
        body = bridged(rng, pitch, decay)
    elif kind == "membrane":
        body = membrane(rng, pitch, decay, rng.uniform(0, 1))
    elif kind == "conga":
        body = membrane(rng, pitch, decay * 0.5, rng.uniform(0.3, 1.4))
    elif kind == "fm":
        index = np.float32(log_uniform(rng, 0.3, 5)) * decaying(t, decay * rng.uniform(0.1, 1))
        ratio = float(rng.choice([0.5, 1.41, 1.59, 2, 2.7]))
        body = modulated(t, pitch, ratio, index) * envelope(rng, t, decay)
    elif kind == "bell":
        ring = np.array([1, rng.uniform(1.4, 1.6)]) * pitch
        centre = float(np.sqrt(ring[0] * ring[1])) * rng.uniform(1, 2)
        body = resonator(squares(rng, t.size, ring), centre, rng.uniform(0.8, 3))
        body *= envelope(rng, t, decay)
    elif kind == "block":
        body = swept(t, pitch * rng.uniform(1, 1.2), pitch, 0.01) * decaying(t, decay)
        overtone = pitch * rng.uniform(1.5, 2.9)
        body += (
            np.float32(rng.uniform(0, 0.6))
            * swept(t, overtone, overtone, 0.01)
            * decaying(t, decay / 2)
        )
    else:
        wide = (6, 40) if kind == "zap" else (1.2, 5)
        shape = one_of(rng, {"sine": 3, "triangle": 3, "square": 0.6, "saw": 0.3})
        glide = decay * log_uniform(rng, 0.1, 0.6)
        body = swept(t, pitch * log_uniform(rng, *wide), pitch, glide, shape) * envelope(
            rng, t, decay
        )
    return coloured(rng, level(np.asarray(body, np.float32)), decay)


def coloured(rng: np.random.Generator, body: Signal, decay: float) -> Signal:
    """[T]: with a stick, drive, and a little dull or short noise: a snare's is bright and long."""
    if rng.uniform() < 0.5:
        t = seconds(min(decay * 4, 1))
        brief = decay * log_uniform(rng, 0.05, 0.8)
        edge = log_uniform(rng, 400, 8000 if brief < 0.04 else 2500)
        hiss = noise(rng, t.size, 80, edge, 1) * decaying(t, brief)
        body = add(body, hiss, log_uniform(rng, 0.03, 0.4))
    if rng.uniform() < 0.5:
        body = add(body, click(rng), log_uniform(rng, 0.03, 0.5))
    if rng.uniform() < 0.3:
        body = np.tanh(body * np.float32(log_uniform(rng, 1, 12)))
        if rng.uniform() < 0.5:
            body = lowpassed(body, log_uniform(rng, 500, 8000))
    return body
