"""Render grooves with kits into stems whose sum is the mix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import effects
import numpy as np
from numpy.typing import NDArray
from stems import RATE, ROLES, STEMS, Audio, decibels, stem_index

if TYPE_CHECKING:
    from kits import Groove, Voice

Notes = NDArray[np.float32]
ROLE_LIST = tuple(ROLES)
# The peaks of a kit's stems in a mix: mean and spread in dB when drawn for training.
LEVELS = {"kick": (3, 3), "snare": (0, 3), "toms": (-2, 4), "hihat": (-9, 6), "cymbals": (-8, 5)}
CHOKE = int(0.03 * RATE)


@dataclass(frozen=True, slots=True)
class Part:
    """A voice and how this record plays it."""

    voice: Voice
    gain: float = 1.0
    pan: float = 0.5
    width: float = 1.0
    ratio: float = 1.0
    decay: float | None = None  # s; None leaves the hit's own
    attack: tuple[float, float] | None = None  # the first seconds, and the gain they get
    filters: tuple[effects.Filter, ...] = ()
    bands: tuple[float, ...] = ()  # s; decays from low to high frequencies
    crush: tuple[int, float] | None = None  # samples held, drive
    alone: bool = False  # a hit ends the one before it, as in machines of one voice a sound

    def sound(self, index: int) -> Audio:
        """[2, T]: one hit, with all that does not depend on the note."""
        audio = self.voice.hits[index].T.astype(np.float32) * np.float32(self.voice.scale)
        if self.ratio != 1 or self.filters:
            audio = effects.tuned(audio, self.ratio, self.filters)
        if self.bands:
            audio = effects.banded(audio, self.bands)
        if self.crush is not None:
            audio = effects.crushed(audio, *self.crush)
        if self.decay is not None:
            t = np.arange(audio.shape[1], dtype=np.float32) / RATE
            audio = audio * np.exp(-t / np.float32(self.decay))
        if self.attack is not None:
            t = np.arange(audio.shape[1], dtype=np.float32) / RATE
            audio = audio * (1 + (self.attack[1] - 1) * np.exp(-t / np.float32(self.attack[0])))
        if audio.shape[0] == 1:
            audio = np.repeat(audio, 2, axis=0)
        middle = audio.mean(axis=0)
        audio = middle + (audio - middle) * np.float32(self.width)
        angle = self.pan * np.pi / 2
        sides = np.array([[np.cos(angle)], [np.sin(angle)]], np.float32) * np.sqrt(2)
        return np.asarray(audio * sides * self.gain, np.float32)


Record = dict[str, Part]


def render(rng: np.random.Generator, record: Record, notes: Notes, length: int) -> Audio:
    """[5, 2, length]: the notes played dry; each hi-hat hit chokes the one before it."""
    stems = np.zeros((len(STEMS), 2, length), np.float32)
    cache: dict[tuple[str, int], Audio] = {}
    hats = np.array([t for t, role, _ in notes if ROLES[ROLE_LIST[int(role)]] == "hihat"])
    for time, number, velocity in notes:
        role = ROLE_LIST[int(number)]
        if role not in record:
            continue
        part = record[role]
        index, gain = part.voice.pick(rng, float(velocity))
        if (role, index) not in cache:
            cache[role, index] = part.sound(index)
        sound = cache[role, index] * np.float32(gain * decibels(rng.normal(0, 0.4)))
        if ROLES[role] == "hihat" or part.alone:
            others = hats if ROLES[role] == "hihat" else notes[notes[:, 1] == number, 0]
            later = others[others > time + 0.005]
            if later.size:
                sound = choked(sound, int((later[0] - time) * RATE))
        place(stems[stem_index(role)], sound, int(time * RATE))
    return stems


def choked(sound: Audio, after: int) -> Audio:
    """[2, T]: faded out within 30 ms from sample `after` on."""
    if after >= sound.shape[1]:
        return sound
    out = sound[:, : after + CHOKE].copy()
    out[:, after:] *= np.linspace(1, 0, out.shape[1] - after, dtype=np.float32)
    return out


def place(stem: Audio, sound: Audio, start: int) -> None:
    """Add [2, T] to a stem at a sample that may be negative or past its end."""
    first, last = max(start, 0), min(start + sound.shape[1], stem.shape[1])
    if last > first:
        stem[:, first:last] += sound[:, first - start : last - start]


def window(groove: Groove, start: float, seconds: float, tempo: float) -> Notes:
    """[n, 3]: the notes that sound in a window, their times from its start; tails come before."""
    notes = groove.notes.copy()
    notes[:, 0] = notes[:, 0] / tempo - start
    return notes[(notes[:, 0] > -3) & (notes[:, 0] < seconds)]
