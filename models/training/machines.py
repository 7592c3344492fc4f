"""Whole drum machines: voices for every role, one technology or a mixture, behind one converter."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import effects
import machine_drums
import machine_metal
import machine_toms
import numpy as np
from kits import Kit, Voice, voice
from oscillators import decaying, level, log_uniform, lowpassed, one_of, times
from stems import RATE, STEMS

if TYPE_CHECKING:
    from oscillators import Signal

# How much later than drums these are cut, lest a crash become a hat.
SLACK = {"open": 2.0, "crash": 4.0, "ride": 3.0, "bell": 2.0}
LOUDEST = 32000


@dataclass(frozen=True, slots=True)
class Character:
    """What a machine's converter and output do to all its voices."""

    rate: float  # Hz at which samples are held
    bits: int  # 0: none lost
    companded: bool  # as 8-bit converters of the time were
    smooth: bool  # a filter before and behind the converter
    drive: float  # 0: none
    tone: tuple[effects.Filter, ...]
    ratio: float  # how much faster all is played
    shorter: float  # decay in s that cuts all voices; 0: none
    gate: float  # s after which a voice is shut; 0: never

    def applied(self, sound: Signal, role: str) -> Signal:
        """[T] to [T'] at peak 1; open hats and cymbals are cut later than drums."""
        slack = SLACK.get(role, 1.0)
        sound = level(sound)
        if self.ratio != 1 or self.tone:
            sound = level(effects.tuned(sound[None], self.ratio, self.tone)[0])
        if self.drive:
            sound = np.tanh(sound * np.float32(self.drive)) / np.float32(np.tanh(self.drive))
        if self.rate < RATE:
            sound = held(sound, self.rate, smooth=self.smooth)
        if self.bits:
            sound = rounded(sound, self.bits, companded=self.companded)
        if self.shorter:
            sound = sound * decaying(times(len(sound)), self.shorter * slack)
        if self.gate:
            shut = sound[: int(self.gate * slack * RATE)].copy()
            sound = shut if np.abs(shut).max() > 0.1 else sound  # one that rises is not cut
        return level(ended(np.asarray(sound, np.float32)))


def held(sound: Signal, rate: float, *, smooth: bool) -> Signal:
    """[T]: sampled at `rate` Hz and held; smooth: without most of the images and the aliases."""
    if smooth:
        sound = lowpassed(sound, 0.42 * rate, 6)
    index = np.floor(np.arange(len(sound)) * (rate / RATE)) * (RATE / rate)
    sound = sound[index.astype(np.int64)]
    return lowpassed(sound, 0.45 * rate, 4) if smooth else sound


def rounded(sound: Signal, bits: int, *, companded: bool) -> Signal:
    """[T]: rounded to `bits`; companded: on the mu-law scale of ITU-T G.711, continuous."""
    steps = np.float32(2 ** (bits - 1))
    if not companded:
        return np.asarray(np.round(sound * steps) / steps, np.float32)
    mu = np.float32(255)
    code = np.sign(sound) * np.log1p(mu * np.abs(sound)) / np.log1p(mu)
    code = np.round(code * steps) / steps
    return np.asarray(np.sign(code) * np.expm1(np.abs(code) * np.log1p(mu)) / mu, np.float32)


def ended(sound: Signal) -> Signal:
    """[T']: silence behind it cut, its last 3 ms faded."""
    loud = np.flatnonzero(np.abs(sound) > 1e-3)
    sound = sound[: int(loud[-1]) + 132 if loud.size else 64].copy()
    count = min(132, len(sound))
    sound[-count:] *= np.linspace(1, 0, count, dtype=np.float32)
    return sound


def draw_character(rng: np.random.Generator) -> Character:
    """Draw a converter and an output."""
    crude = rng.uniform() < 0.5
    filters = effects.random_filters(rng, 2.5) if rng.uniform() < 0.5 else ()
    if rng.uniform() < 0.2:
        dull = effects.Filter("highshelf", log_uniform(rng, 2000, 9000), float(rng.uniform(-18, 0)))
        filters = (*filters, dull)
    return Character(
        rate=log_uniform(rng, 8000, 40000) if crude else float(RATE),
        bits=int(rng.integers(7, 13)) if crude and rng.uniform() < 0.7 else 0,
        companded=bool(rng.uniform() < 0.4),
        smooth=bool(rng.uniform() < 0.6),
        drive=log_uniform(rng, 0.5, 8) if rng.uniform() < 0.3 else 0.0,
        tone=filters,
        ratio=float(2 ** (rng.uniform(-7, 7) / 12)) if rng.uniform() < 0.25 else 1.0,
        shorter=log_uniform(rng, 0.06, 0.6) if rng.uniform() < 0.25 else 0.0,
        gate=log_uniform(rng, 0.08, 0.5) if rng.uniform() < 0.3 else 0.0,
    )


def draw_machine(rng: np.random.Generator, stems: tuple[str, ...] = STEMS) -> Kit:
    """Draw a machine: voices for every role of the stems asked for."""
    character = draw_character(rng)
    lean = machine_drums.LEANS[
        one_of(rng, {"analogue": 3, "digital": 2.5, "sampled": 2.5, "fm": 0.7, "any": 2})
    ]
    pitch, ringing = log_uniform(rng, 33, 92), log_uniform(rng, 0.07, 0.6)
    sounds: dict[str, Signal] = {}
    if "kick" in stems:
        sounds["kick"] = machine_drums.kick(rng, lean, pitch)
    if "snare" in stems:
        sounds |= machine_drums.rolled(rng, lean)
    if "toms" in stems:
        three = machine_toms.toms(rng, lean, pitch)
        sounds |= dict(zip(("tom1", "tom2", "tom3"), three, strict=True))
    if "hihat" in stems:
        sounds |= machine_metal.hats(rng, lean, ringing)
    if "cymbals" in stems:
        sounds |= machine_metal.cymbals(rng, lean, ringing)
    accented = rng.uniform() < 0.5
    kit: Kit = {
        role: [layered(rng, character.applied(sound, role), role, accented=accented)]
        for role, sound in sounds.items()
    }
    if "tom1" in kit:  # as in other kits: all toms in one list, the highest first
        kit["tom1"] += kit.pop("tom2") + kit.pop("tom3")
    return kit


def layered(rng: np.random.Generator, sound: Signal, role: str, *, accented: bool) -> Voice:
    """Return a voice of one layer, or of two of which the accent may be brighter."""
    gain = 1.0 if role in ("kick", "snare", "crash") else float(rng.uniform(0.5, 1))
    hits = [(110, sound)]
    if accented:
        soft = lowpassed(sound, log_uniform(rng, 1500, 20000), 1)
        hits.append((70, soft * np.float32(rng.uniform(0.3, 0.7))))
    pcm = [
        (at, np.round(hit * np.float32(gain * LOUDEST)).astype(np.int16)[:, None])
        for at, hit in hits
    ]
    return voice(pcm, 1 / LOUDEST, "machine")


def main() -> None:
    """Print how long a machine takes to draw."""
    taken = []
    for seed in range(40):
        started = time.process_time()
        draw_machine(np.random.default_rng(seed))
        taken.append(1000 * (time.process_time() - started))
    print(f"{np.mean(taken):.0f} ms a machine, {max(taken):.0f} at most")


if __name__ == "__main__":
    main()
