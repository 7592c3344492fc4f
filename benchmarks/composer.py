"""Songs as notes, drawn by a seed: keys, progressions, bass lines, chords and leads of a style."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
# Degrees of the scale, a chord to a bar.
PROGRESSIONS = {
    "major": ((0, 4, 5, 3), (0, 3, 4, 4), (5, 3, 0, 4), (1, 4, 0, 0), (0, 5, 1, 4), (0, 3, 0, 4)),
    "minor": ((0, 5, 2, 6), (0, 3, 4, 0), (0, 6, 5, 6), (0, 0, 3, 4), (0, 2, 6, 3), (0, 0, 5, 4)),
}
BEATS = 4  # of a bar
SECTION = 4  # bars in which the same layers play
RESTING = 0.15  # how often a layer that may rests for a section


@dataclass(frozen=True, slots=True)
class Note:
    """A tone: s from the song's start, s, MIDI's pitch and velocity."""

    start: float
    seconds: float
    pitch: int
    velocity: int


@dataclass(frozen=True, slots=True)
class Layer:
    """What plays how: programs of General MIDI (from 0) of which one is drawn."""

    kind: str  # a key of `PLAYERS`
    programs: tuple[int, ...]
    resting: bool = True  # whether it may rest for a section
    bank: int = 0


@dataclass(frozen=True, slots=True)
class Style:
    """Beats per minute from and to, and the layers."""

    tempo: tuple[int, int]
    layers: tuple[Layer, ...]


@dataclass(frozen=True, slots=True)
class Track:
    """One instrument of a song; `kind` says how its tones are shaped."""

    kind: str
    program: int
    bank: int
    pan: int
    volume: int
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class Song:
    """All that is tonal in a song."""

    style: str
    tempo: float
    key: int
    mode: str
    seconds: float
    tracks: tuple[Track, ...]


PIANOS, ELECTRIC_PIANOS, ORGANS = (0, 1, 2), (4, 5), (16, 17, 18, 19)
GUITARS, CLEAN, DISTORTED = (24, 25), (26, 27, 28), (29, 30)
BASSES, UPRIGHT, SYNTH_BASSES = (33, 34, 35, 36), (32,), (38, 39)
STRINGS, VOICES, PADS = (48, 49, 50, 51), (52, 53, 54), (88, 89, 90, 91, 92, 93, 94, 95)
BRASS, REEDS, WINDS, BOWED = (56, 57, 60, 61), (64, 65, 66, 68, 71), (72, 73, 75), (40, 41, 42)
SYNTH_LEADS, MALLETS = (80, 81, 82, 84, 85, 87), (8, 9, 11, 12, 13)
# MuseScore's and Fluid's soundfonts have a sine there, others a synthesiser.
SINE = Layer("sub", (80,), bank=8, resting=False)
BASS = Layer("bass", BASSES, resting=False)
STYLES = {
    "piano": Style((60, 130), (Layer("broken", PIANOS, resting=False), Layer("lead", PIANOS))),
    "piano band": Style(
        (70, 130), (Layer("comp", PIANOS), BASS, Layer("sung", VOICES), Layer("pad", STRINGS))
    ),
    "folk": Style((70, 140), (Layer("strum", GUITARS, resting=False), Layer("lead", WINDS))),
    "pop": Style(
        (90, 128), (Layer("strum", (*GUITARS, *CLEAN)), BASS, Layer("sung", VOICES + WINDS))
    ),
    "funk": Style((90, 116), (Layer("comp", (27, 28, *ELECTRIC_PIANOS)), BASS)),
    "rock": Style((100, 160), (Layer("power", DISTORTED, resting=False), BASS)),
    "metal": Style((120, 180), (Layer("power", (30,), resting=False), Layer("bass", (34,)))),
    "rock with a lead": Style(
        (90, 150), (Layer("power", DISTORTED), BASS, Layer("sung", (*DISTORTED, *VOICES)))
    ),
    "jazz": Style(
        (100, 200),
        (Layer("comp", PIANOS), Layer("walking", UPRIGHT, resting=False), Layer("lead", REEDS)),
    ),
    "brass": Style((90, 140), (Layer("comp", BRASS), BASS, Layer("lead", BRASS))),
    "strings": Style(
        (50, 100), (Layer("pad", STRINGS, resting=False), Layer("sung", (*BOWED, *WINDS)))
    ),
    "choir": Style((50, 100), (Layer("pad", VOICES, resting=False), Layer("sung", VOICES))),
    "organ": Style((60, 120), (Layer("pad", ORGANS), Layer("lead", (*ORGANS, *VOICES)), BASS)),
    "synth pop": Style(
        (100, 140),
        (Layer("arpeggio", SYNTH_LEADS), Layer("bass", SYNTH_BASSES), Layer("pad", PADS)),
    ),
    "techno": Style((120, 150), (Layer("bass", SYNTH_BASSES, resting=False), Layer("stab", PADS))),
    "mallets": Style((80, 130), (Layer("arpeggio", MALLETS, resting=False), Layer("lead", WINDS))),
    "hip hop": Style((70, 100), (SINE, Layer("broken", (*ELECTRIC_PIANOS, *MALLETS)))),
    "rap with a sub bass": Style((65, 90), (SINE,)),
    "bass": Style((80, 130), (BASS,)),
    "synth bass": Style((90, 140), (Layer("bass", SYNTH_BASSES, resting=False),)),
    "drums alone": Style((60, 180), ()),
    "one voice": Style((70, 120), (Layer("sung", (*VOICES, *BOWED, *WINDS), resting=False),)),
}


@dataclass(frozen=True, slots=True)
class Bar:
    """What a player knows: the bar's start and beat in s, scale and chord as pitch classes."""

    start: float
    beat: float
    scale: tuple[int, ...]
    chord: tuple[int, ...]


Player = Callable[[np.random.Generator, Bar], Iterator[Note]]


def near(pitch_class: int, low: int) -> int:
    """Return the lowest pitch of a class from `low` on."""
    return low + (pitch_class - low) % 12


def velocity(rng: np.random.Generator, mean: float) -> int:
    """Draw a velocity about a mean."""
    return int(np.clip(rng.normal(mean, 8), 20, 127))


def pad(rng: np.random.Generator, bar: Bar) -> Iterator[Note]:
    """The chord for the whole bar."""
    for each in bar.chord:
        yield Note(bar.start, BEATS * bar.beat * 1.02, near(each, 55), velocity(rng, 75))


def comp(rng: np.random.Generator, bar: Bar) -> Iterator[Note]:
    """The chord in a syncopated rhythm."""
    for step in np.flatnonzero(rng.uniform(size=8) < 0.45):
        length = float(rng.choice([0.25, 0.45, 0.9, 1.4])) * bar.beat
        for each in bar.chord:
            yield Note(bar.start + step * bar.beat / 2, length, near(each, 53), velocity(rng, 85))


def stab(rng: np.random.Generator, bar: Bar) -> Iterator[Note]:
    """Short chords between the beats."""
    for beat in range(BEATS):
        for each in bar.chord:
            at = bar.start + (beat + 0.5) * bar.beat
            yield Note(at, 0.3 * bar.beat, near(each, 57), velocity(rng, 90))


def strum(rng: np.random.Generator, bar: Bar) -> Iterator[Note]:
    """Eighths over five strings, one after another."""
    for step in range(8):
        if step and rng.uniform() < 0.35:
            continue
        for string in range(5):
            pitch = near(bar.chord[string % len(bar.chord)], 45 + 5 * string)
            at = bar.start + step * bar.beat / 2 + 0.012 * string
            yield Note(at, bar.beat, pitch, velocity(rng, 80))


def broken(rng: np.random.Generator, bar: Bar) -> Iterator[Note]:
    """A low root, the chord's tones above it."""
    yield Note(bar.start, BEATS * bar.beat * 0.95, near(bar.chord[0], 40), velocity(rng, 80))
    for step in range(8):
        pitch = near(bar.chord[int(rng.integers(len(bar.chord)))], 57 + 5 * (step % 2))
        if rng.uniform() < 0.85:
            at = bar.start + step * bar.beat / 2
            yield Note(at, bar.beat * 1.5, pitch, velocity(rng, 72))


def arpeggio(rng: np.random.Generator, bar: Bar) -> Iterator[Note]:
    """Sixteenths up the chord over two octaves."""
    tones = [near(each, 57 + 12 * octave) for octave in (0, 1) for each in bar.chord]
    for step in range(16):
        at = bar.start + step * bar.beat / 4
        yield Note(at, bar.beat / 4, tones[step % len(tones)], velocity(rng, 80))


def power(rng: np.random.Generator, bar: Bar) -> Iterator[Note]:
    """Root, fifth and octave: eighths, or held."""
    held = rng.uniform() < 0.4
    for step in (0,) if held else range(8):
        length = BEATS * bar.beat if held else bar.beat * float(rng.choice([0.2, 0.5]))
        root = near(bar.chord[0], 40)
        for pitch in (root, root + 7, root + 12):
            yield Note(bar.start + step * bar.beat / 2, length, pitch, velocity(rng, 100))


def bass(rng: np.random.Generator, bar: Bar) -> Iterator[Note]:
    """Eighths on root, fifth and octave with rests."""
    root = near(bar.chord[0], 28)
    for step in range(8):
        if step and rng.uniform() < 0.4:
            continue
        pitch = root + int(rng.choice([0, 0, 0, 7, 12])) if step else root
        length = bar.beat * float(rng.choice([0.4, 0.5, 0.9]))
        yield Note(bar.start + step * bar.beat / 2, length, pitch, velocity(rng, 95))


def walking(rng: np.random.Generator, bar: Bar) -> Iterator[Note]:
    """A tone of chord or scale to every beat."""
    for beat in range(BEATS):
        tones = bar.scale if beat == BEATS - 1 else bar.chord
        pitch = near(tones[int(rng.integers(len(tones)))] if beat else bar.chord[0], 30)
        yield Note(bar.start + beat * bar.beat, bar.beat * 0.95, pitch, velocity(rng, 90))


def sub(rng: np.random.Generator, bar: Bar) -> Iterator[Note]:
    """A few long, falling tones below 90 Hz."""
    for beat in (0.0, *rng.choice([0.75, 1.5, 2.0, 2.5, 3.5], int(rng.integers(1, 3)))):
        pitch = near(bar.chord[0] if rng.uniform() < 0.7 else bar.chord[2], 29)
        length = float(rng.uniform(0.8, 2)) * bar.beat
        yield Note(bar.start + float(beat) * bar.beat, length, pitch, velocity(rng, 110))


def lead(rng: np.random.Generator, bar: Bar) -> Iterator[Note]:
    """A walk through the scale."""
    at, place = 0.0, int(rng.integers(7))
    while at < BEATS:
        length = float(rng.choice([0.5, 0.5, 1, 1.5, 2]))
        if rng.uniform() < 0.8:
            pitch = near(bar.scale[place % 7], 64)
            played = min(length, BEATS - at) * bar.beat * 0.95
            yield Note(bar.start + at * bar.beat, played, pitch, velocity(rng, 95))
        place += int(rng.integers(-2, 3))
        at += length


PLAYERS: dict[str, Player] = {
    "pad": pad,
    "comp": comp,
    "stab": stab,
    "strum": strum,
    "broken": broken,
    "arpeggio": arpeggio,
    "power": power,
    "bass": bass,
    "walking": walking,
    "sub": sub,
    "lead": lead,
    "sung": lead,
}
LEVELS = {"pad": 80, "bass": 105, "walking": 110, "sub": 120, "sung": 115, "lead": 105}


def compose(rng: np.random.Generator, name: str, seconds: float) -> Song:
    """Return a song of a style, of any length; its last tones may ring past the end."""
    style = STYLES[name]
    tempo = float(rng.uniform(*style.tempo))
    mode = str(rng.choice(list(SCALES)))
    key = int(rng.integers(12))
    scale = tuple((key + step) % 12 for step in SCALES[mode])
    beat = 60 / tempo
    bars = int(seconds / (BEATS * beat)) + 1
    sections = -(-bars // SECTION)
    progressions = PROGRESSIONS[mode]
    chosen = [progressions[int(rng.integers(len(progressions)))] for _ in range(2)]
    tracks = []
    for layer in style.layers:
        resting = (rng.uniform(size=sections) < RESTING) & layer.resting
        notes: list[Note] = []
        for at in range(bars):
            if resting[at // SECTION]:
                continue
            degree = chosen[at // (2 * SECTION) % 2][at % SECTION]
            tones = 4 if name == "jazz" else 3
            chord = tuple(scale[(degree + 2 * third) % 7] for third in range(tones))
            bar = Bar(at * BEATS * beat, beat, scale, chord)
            for note in PLAYERS[layer.kind](rng, bar):
                start = max(note.start + float(rng.normal(0, 0.006)), 0)
                if start < seconds:
                    notes.append(Note(start, note.seconds, note.pitch, note.velocity))
        tracks.append(
            Track(
                layer.kind,
                int(rng.choice(layer.programs)),
                layer.bank,
                64 if layer.kind in ("bass", "walking", "sub") else int(rng.integers(30, 99)),
                int(np.clip(LEVELS.get(layer.kind, 95) + rng.normal(0, 8), 40, 127)),
                tuple(notes),
            )
        )
    return Song(name, tempo, key, mode, seconds, tuple(tracks))
