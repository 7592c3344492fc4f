"""Draw the notes of a clip: what people played, or the patterns of machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from patterns import draw_pattern
from render import ROLE_LIST, Notes, window
from stems import ROLES, STEMS

if TYPE_CHECKING:
    from kits import Groove

SECONDS = 12.0


def draw_notes(rng: np.random.Generator, grooves: list[Groove], patterns: float) -> Notes:
    """[n, 3]: twelve seconds; with the odds `patterns` those of a machine."""
    if rng.uniform() < patterns:
        return draw_pattern(rng, SECONDS)
    return draw_groove(rng, grooves)


def draw_groove(rng: np.random.Generator, grooves: list[Groove]) -> Notes:
    """[n, 3]: twelve seconds of one groove, or of fills back to back, some notes moved."""
    tempo = float(np.exp(rng.normal(0, 0.12)))
    if rng.uniform() < 0.65:
        beats = [groove for groove in grooves if not groove.fill]
        groove = beats[int(rng.integers(len(beats)))]
        start = rng.uniform(-1, max(float(groove.notes[-1, 0]) / tempo - SECONDS, 0) + 1)
        return moved(rng, window(groove, float(start), SECONDS, tempo))
    parts = []
    time = 0.0
    while time < SECONDS:
        fills = [groove for groove in grooves if groove.fill]
        groove = fills[int(rng.integers(len(fills)))]
        notes = window(groove, 0.0, SECONDS, tempo)
        notes[:, 0] += time
        parts.append(notes)
        time = float(notes[-1, 0]) + rng.uniform(0.1, 0.5)
    notes = np.concatenate(parts)
    return moved(rng, notes[np.argsort(notes[:, 0], kind="stable")])


def moved(rng: np.random.Generator, notes: Notes) -> Notes:
    """[n, 3]: hats moved to the ride, snares to toms, crashes added, whole stems dropped."""
    number = {role: index for index, role in enumerate(ROLE_LIST)}
    roles = notes[:, 1]
    chance = rng.uniform()
    if chance < 0.2:
        roles[np.isin(roles, [number["closed"], number["open"]])] = number["ride"]
    elif chance < 0.3:  # a washing hat; each hit chokes the one before
        roles[roles == number["closed"]] = number["open"]
    elif chance < 0.45:  # now and then half open
        some = rng.uniform(size=len(roles)) < rng.uniform(0.1, 0.5)
        roles[(roles == number["closed"]) & some] = number["open"]
    if rng.uniform() < 0.35:  # the foot keeps time
        times = np.arange(rng.uniform(0, 1), SECONDS, rng.uniform(0.35, 1.2))
        feet = np.full((len(times), 3), number["pedal"], np.float32)
        feet[:, 0], feet[:, 2] = times, rng.uniform(40, 110, len(times))
        notes = np.concatenate((notes, feet))
        notes = notes[np.argsort(notes[:, 0], kind="stable")]
        roles = notes[:, 1]
    if rng.uniform() < 0.12:
        picks = (roles == number["snare"]) & (rng.uniform(size=len(roles)) < rng.uniform(0.2, 0.9))
        roles[picks] = number["tom1"] + rng.integers(0, 3, int(picks.sum()))
    if rng.uniform() < 0.45 and len(notes):
        picks = rng.integers(len(notes), size=int(rng.integers(1, 6)))
        extra = notes[picks].copy()
        extra[:, 1] = number["crash"]
        extra[:, 2] = rng.uniform(50, 127, len(picks))
        notes = np.concatenate((notes, extra))
        notes = notes[np.argsort(notes[:, 0], kind="stable")]
    for stem in STEMS:
        if rng.uniform() < 0.05:
            gone = [number[role] for role, owner in ROLES.items() if owner == stem]
            notes = notes[~np.isin(notes[:, 1], gone)]
    return notes
