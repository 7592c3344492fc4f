"""Draw what drum machines play: bars of a style or random ones, varied, filled, rolled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from oscillators import log_uniform
from render import ROLE_LIST, Notes
from stems import ROLES
from styles import PERCUSSION, STYLES, Steps

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEPS = 16
Grid = dict[
    str, "NDArray[np.int64]"
]  # by role, a level for each step: 0 rest, 1 ghost, 2, 3 accent
MARKS = {".": 0, "g": 1, "x": 2, "X": 3}
TOMS = ("tom1", "tom2", "tom3")
Note = tuple[float, str, float]  # time in steps, role, level


@dataclass(frozen=True, slots=True)
class Feel:
    """How steps become notes."""

    step: float  # s
    swing: float  # 0.5 is straight
    velocities: tuple[float, float, float]  # ghost, normal, accent
    jitter: float  # s
    wander: float  # of velocities

    def note(
        self, rng: np.random.Generator, at: float, role: str, level: float
    ) -> tuple[float, float, float]:
        """Return time in s, role's index, velocity."""
        pair, rest = divmod(at, 2)
        late = (
            2 * self.swing * rest if rest <= 1 else 2 * (self.swing + (1 - self.swing) * (rest - 1))
        )
        time = (2 * pair + late) * self.step + rng.normal(0, self.jitter)
        velocity = np.interp(level, (1, 2, 3), self.velocities) + rng.normal(0, self.wander)
        return float(time), ROLE_LIST.index(role), float(np.clip(velocity, 8, 127))


def draw_feel(rng: np.random.Generator, tempo: float, swing: float) -> Feel:
    """Draw swing, levels and how exact the clock is."""
    normal = rng.uniform(75, 110)
    levels = int(rng.integers(1, 4))
    accent = normal if levels == 1 else min(normal + rng.uniform(8, 35), 127)
    ghost = normal * rng.uniform(0.3, 0.75) if levels == 3 else normal
    exact = rng.uniform() < 0.65
    return Feel(
        60 / tempo / 4,
        0.5 if rng.uniform() < 0.5 else rng.uniform(0.5, max(swing, 0.501)),
        (ghost, normal, accent),
        0.0 if exact else log_uniform(rng, 0.0005, 0.008),
        0.0 if exact else rng.uniform(0, 8),
    )


def euclidean(count: int, steps: int, turn: int) -> NDArray[np.int64]:
    """[steps]: `count` hits as evenly as they go (Toussaint, "The Euclidean algorithm", 2005)."""
    place = (np.arange(steps) + turn) * count % steps
    return np.where(place < count, 2, 0)


def random_steps(rng: np.random.Generator) -> Grid:
    """Draw a bar of Euclidean rhythms."""
    most = {
        "kick": 7,
        "snare": 5,
        "rim": 4,
        "side": 6,
        "closed": 16,
        "open": 5,
        "ride": 9,
        "bell": 6,
    }
    odds = {"kick": 1, "snare": 0.95, "closed": 0.9, "open": 0.5, "rim": 0.4, "side": 0.3}
    return {
        role: euclidean(int(rng.integers(1, count + 1)), STEPS, int(rng.integers(STEPS)))
        for role, count in most.items()
        if rng.uniform() < odds.get(role, 0.2)
    }


def chosen(rng: np.random.Generator, steps: Steps) -> Grid:
    """Draw one of the bars of each role."""
    return {
        role: np.array([MARKS[mark] for mark in str(rng.choice(bars))])
        for role, bars in steps.items()
    }


def draw_bar(rng: np.random.Generator) -> tuple[Grid, float, float]:
    """Draw the bar that repeats, its tempo in beats per minute, and the longest swing."""
    if rng.uniform() < 0.12:
        return random_steps(rng), rng.uniform(70, 180), 0.62
    style = STYLES[str(rng.choice(list(STYLES)))]
    grid = chosen(rng, style.steps)
    if rng.uniform() < 0.2:  # a hat's part on the ride, or nothing but the open hat
        other = "ride" if rng.uniform() < 0.7 else "open"
        grid[other] = np.maximum(grid.pop("closed"), grid.get(other, 0))
    if rng.uniform() < 0.3:  # toms as percussion
        grid |= chosen(rng, PERCUSSION)
    if rng.uniform() < 0.15:  # a foot, or a pedal's sound in place of some closed hats
        grid["pedal"] = euclidean(int(rng.choice([2, 4, 4, 8])), STEPS, int(rng.integers(4)))
    return grid, rng.uniform(*style.tempo), style.swing


def varied(rng: np.random.Generator, grid: Grid) -> Grid:
    """Return a bar with some steps dropped, added and softened."""
    out = {}
    for role, steps in grid.items():
        own = steps.copy()
        if rng.uniform() < 0.3:
            own[rng.uniform(size=STEPS) < 0.12] = 0
        if rng.uniform() < 0.3 and own.any():
            own[int(rng.integers(STEPS))] = int(rng.integers(1, 3))
        out[role] = own
    return out


def fill(rng: np.random.Generator, grid: Grid) -> Grid:
    """Return the bar with its end given to falling toms, a snare roll, or a break of the kick."""
    start = int(rng.choice([0, 8, 8, 12, 12, 14]))
    out = {role: steps.copy() for role, steps in grid.items()}
    kind = rng.uniform()
    if kind < 0.15:  # a break: all but one voice are silent
        kept = str(rng.choice(list(out)))
        for role, steps in out.items():
            steps[start:] *= role == kept
        return out
    for role, steps in out.items():
        if ROLES[role] in ("snare", "toms", "hihat") and rng.uniform() < 0.7:
            steps[start:] = 0
    run = np.zeros((4, STEPS), np.int64)  # snare and three toms
    spread = rng.uniform() < 0.7  # down the toms; else anywhere
    for step in range(start, STEPS):
        if rng.uniform() > 0.85:
            continue
        done = (step - start) / max(STEPS - start, 1)
        row = int(done * 4) if spread else int(rng.integers(4))
        run[0 if kind > 0.75 else row, step] = 3 if step % 4 == 0 else 2
    for row, role in enumerate(("snare", *TOMS)):
        out[role] = np.maximum(out.get(role, np.zeros(STEPS, np.int64)), run[row])
    return out


def rolls(rng: np.random.Generator, notes: list[Note], role: str) -> list[Note]:
    """Return the notes with some beats of a role replaced by triplets, 1/32 or 1/64."""
    out = [note for note in notes if note[1] != role]
    own = [note for note in notes if note[1] == role]
    beats = {int(note[0] // 4) for note in own}
    for beat in sorted(beats):
        inside = [note for note in own if note[0] // 4 == beat]
        if rng.uniform() > 0.3:
            out += inside
            continue
        length, parts = ((4, 6), (4, 8), (2, 4), (2, 6), (2, 3), (4, 12), (1, 4))[
            int(rng.integers(7))
        ]
        start = 4 * beat + (0 if rng.uniform() < 0.5 else 4 - length)
        out += [note for note in inside if not start <= note[0] < start + length]
        low, high = rng.uniform(1, 3, 2) if rng.uniform() < 0.6 else (2.0, 2.0)
        levels = np.linspace(low, high, parts)
        out += [(start + length * i / parts, role, float(levels[i])) for i in range(parts)]
    return out


def without(rng: np.random.Generator, grid: Grid, share: float) -> Grid:
    """Return a thinner bar, as of an intro: each role stays with the odds `share`."""
    kept = {role: steps for role, steps in grid.items() if rng.uniform() < share}
    return kept or dict([list(grid.items())[int(rng.integers(len(grid)))]])


def draw_pattern(rng: np.random.Generator, seconds: float) -> Notes:
    """[n, 3]: time in s within `seconds`, role's index in `ROLES`, velocity, by rising time."""
    grid, tempo, swing = draw_bar(rng)
    feel = draw_feel(rng, tempo, swing)
    length = STEPS * feel.step
    count = int(seconds / length) + 2
    phase = 0.0 if rng.uniform() < 0.3 else float(rng.uniform(0, length))
    other = varied(rng, grid)
    period = int(rng.choice([2, 4, 4, 8]))
    offset = int(rng.integers(period))
    filled, crashed, rolling = rng.uniform() < 0.6, rng.uniform() < 0.5, rng.uniform() < 0.3
    thin = int(rng.integers(1, 4)) if rng.uniform() < 0.2 else 0
    notes: list[Note] = []
    for index in range(count):
        last = (index + offset) % period == period - 1
        bar = other if rng.uniform() < 0.25 else grid
        if index < thin:
            bar = without(rng, grid, 0.4)
        elif last and filled:
            bar = fill(rng, bar)
        steps = [
            (float(at), role, float(level[at]))
            for role, level in bar.items()
            for at in np.flatnonzero(level)
        ]
        if rolling:
            steps = rolls(rng, steps, "closed" if rng.uniform() < 0.8 else "snare")
        if crashed and (index + offset) % period == 0:
            steps.append((0.0, "crash", 3.0))
        notes += [(at + STEPS * index, role, level) for at, role, level in steps]
    found = np.array([feel.note(rng, *note) for note in notes], np.float32).reshape(-1, 3)
    found[:, 0] -= phase
    found = found[(found[:, 0] >= 0) & (found[:, 0] < seconds)]
    return found[np.argsort(found[:, 0], kind="stable")]
