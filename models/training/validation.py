"""The validation sets: which clips, at which levels, and which stems of them count."""

from __future__ import annotations

from dataclasses import dataclass

import kits
import numpy as np
import torch
from kits import Groove, Kit, Voice
from render import Part, Record, render, window
from stems import RATE, ROLES, STEMS, Audio, decibels
from torch import Tensor

CLIPS = 24
SECONDS = 12


@dataclass(frozen=True, slots=True)
class Rules:
    """How a set is made of a kit and grooves."""

    levels: dict[str, float]  # dB of a stem's samples
    recorded: bool  # levels are those of the samples as recorded; else of the stem's peak
    least_db: float | None  # a stem counts from this energy relative to the mix on; None: any
    named: dict[str, tuple[str, ...]]  # the articulations that may play a role; {}: all it has


# What a drummer plays for each note on open_source_drumkit; other kits have their own names.
ARTICULATIONS = {
    "snare": ("snare",),
    "rim": ("snare rimshot",),
    "side": ("snare sidestick",),
    "closed": ("hihat closed",),
    "pedal": ("hihat foot",),
    "open": ("hihat halfopen",),
    "crash": ("crash", "crash edge"),
    "ride": ("ride in", "ride out"),
    "bell": ("ride bell",),
}
LEVELS = {"kick": 0.0, "snare": 0.0, "toms": 0.0}
FEWEST = 3  # active stems of a clip
RULES = {
    # The words of the design: the samples as recorded, hats at -10 dB and cymbals at -6 dB, every
    # note with its own articulation, and a stem active when it is heard at all.
    "set": Rules(
        levels=LEVELS | {"hihat": -10.0, "cymbals": -6.0},
        recorded=True,
        least_db=-30.0,
        named=ARTICULATIONS,
    ),
    # The set of the first weights, kept to compare: any articulation of the role, levels by stem.
    "first": Rules(
        levels=LEVELS | {"hihat": -8.0, "cymbals": -4.0}, recorded=False, least_db=None, named={}
    ),
}


def record(rng: np.random.Generator, kit: Kit, rules: Rules) -> Record:
    """Return an untreated voice for every role."""
    parts = {}
    for role, stem in ROLES.items():
        if role in ("tom1", "tom2", "tom3"):
            toms = kit["tom1"]
            voice = toms[round("123".index(role[3]) * (len(toms) - 1) / 2)]
        else:
            voices = voices_for(kit, role, rules)
            voice = voices[int(rng.integers(len(voices)))]
        gain = decibels(rules.levels[stem])
        parts[role] = Part(voice, gain=gain / (voice.scale * 32768) if rules.recorded else gain)
    return parts


def voices_for(kit: Kit, role: str, rules: Rules) -> list[Voice]:
    """Return the voices that may play a role."""
    voices = kits.find(kit, role)
    names = rules.named.get(role, ())
    return [voice for voice in voices if voice.name in names] or voices


def active(stems: Tensor, rules: Rules) -> list[bool]:
    """[S, C, T] to which stems count."""
    power = stems.double().square().sum((1, 2))
    if rules.least_db is None:
        return [bool(each > 0) for each in power]
    least = stems.double().sum(0).square().sum() * 10 ** (rules.least_db / 10)
    return [bool(each > least) for each in power]


def clip(index: int, kit: Kit, grooves: list[Groove], length: int, rules: Rules) -> Audio:
    """[5, 2, length]: clip `index` of the set, its mix at peak -3 dBFS, three stems active."""
    rng = np.random.default_rng([20240607, index])
    parts = record(rng, kit, rules)
    seconds = length / RATE
    while True:
        groove = grooves[int(rng.integers(len(grooves)))]
        end = float(groove.notes[-1, 0])
        if end < seconds:
            continue
        start = float(rng.uniform(0, end - seconds))
        stems = render(rng, parts, window(groove, start, seconds, 1.0), length)
        if sum(active(torch.from_numpy(stems), rules)) >= FEWEST:
            return stems * np.float32(decibels(-3) / np.abs(stems.sum(axis=0)).max())


def clips(
    kit: Kit, grooves: list[Groove], count: int, rules: Rules, start: int = 0
) -> list[Tensor]:
    """Return the set: `count` clips [5, 2, T]; from another `start` on, clips beside it."""
    length = SECONDS * RATE
    indices = range(start, start + count)
    return [torch.from_numpy(clip(i, kit, grooves, length, rules)) for i in indices]


def density(stems: Tensor) -> float:
    """[S, C, T] to onsets per second: rises of 6 dB within 20 ms of any stem above -50 dBFS."""
    block = RATE // 50
    count = 0
    for index in range(len(STEMS)):
        level = stems[index].abs().amax(0).unfold(0, block, block).amax(1)
        rises = (level[1:] > 2 * level[:-1]) & (level[1:] > decibels(-50))
        count += int((rises[1:] & ~rises[:-1]).sum())
    return count / (stems.shape[-1] / RATE)
