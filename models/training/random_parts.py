"""Draw the parts of a record: which voice plays a role, and its tuning, length, tone and place."""

from __future__ import annotations

from dataclasses import replace

import effects
import kits
import numpy as np
from kits import Kit, Voice
from render import Part, Record
from stems import ROLES, decibels

# How kits are weighted where they have a stem.
WEIGHTS = {"muldjord": 3.0, "karoryfer_mixed": 3.0, "gogodze_phu_2": 3.0, "vcsl_concert": 0.4}
WEIGHTS |= {"pearl_master_studio": 2.0, "boochi44_lofi808": 0.4, "gogodze_phu_2_retro": 1.5}
WEIGHTS |= {"fluid_standard": 2.0, "fluid_electronic": 1.5, "marching": 0.5, "fluid_808": 0.5}
WEIGHTS |= {"sonivox": 0.8, "scratch": 0.6, "scratch_22k": 0.3, "stk": 0.3}
OTHERS = 0.5  # the weight of soundfont programs that have but a kick and a snare of their own
METAL = ("hihat", "cymbals")


def weight(name: str) -> float:
    """Return how often a kit is drawn, relative to others that have the stem."""
    return WEIGHTS.get(name, OTHERS if name.startswith("fluid") else 1.0)


def draw_kit(rng: np.random.Generator, names: list[str]) -> str:
    """Return one of the kits."""
    odds = np.array([weight(name) for name in names])
    return names[int(rng.choice(len(names), p=odds / odds.sum()))]


def draw_voice(rng: np.random.Generator, kit: Kit, role: str) -> tuple[Voice, bool]:
    """Return a voice for a role, and whether it is longer than the role and needs shortening.

    Toms are drawn so that tom1 is the highest. A closed or pedalled hat may borrow an open hat or
    a cymbal: two plates that stop at once sound like a hat whatever they are.
    """
    if role in ("tom1", "tom2", "tom3"):
        toms = kit["tom1"]
        place = (int(role[3]) - 1 + rng.uniform(0, 0.99)) / 3
        return toms[int(place * len(toms))], False
    lent: list[Voice] = []
    if role in ("closed", "pedal"):
        chance = rng.uniform()
        if chance < 0.1:
            lent = [*kits.find(kit, "crash"), *kits.find(kit, "ride")]
        elif chance < 0.3:
            lent = kits.find(kit, "open")
    voices = lent or kits.find(kit, role)
    return voices[int(rng.integers(len(voices)))], bool(lent)


def draw_attack(rng: np.random.Generator) -> tuple[float, float] | None:
    """Return seconds and gain of the first moment of a hit, or None."""
    if rng.uniform() < 0.5:
        return None
    return float(np.exp(rng.uniform(np.log(0.004), np.log(0.06)))), decibels(rng.normal(0, 4))


def draw_filters(rng: np.random.Generator, role: str) -> tuple[effects.Filter, ...]:
    """Return a tone; one hat or cymbal in three is made as dark as a close microphone hears it.

    Many hats ring below 1 kHz too, where snares do: one in two gets such a body.
    """
    filters = effects.random_filters(rng, 3.0)
    if ROLES[role] not in METAL:
        return filters
    if rng.uniform() < 0.3:
        edge = float(np.exp(rng.uniform(np.log(600), np.log(3000))))
        filters += (effects.Filter("lowshelf", edge, float(rng.uniform(4, 16))),)
    if rng.uniform() < 0.5:
        for _ in range(int(rng.integers(1, 4))):
            frequency = float(np.exp(rng.uniform(np.log(220), np.log(1100))))
            q = float(np.exp(rng.uniform(np.log(0.7), np.log(8))))
            filters += (effects.Filter("peak", frequency, float(rng.uniform(2, 14)), q),)
    return filters


def draw_bands(rng: np.random.Generator, longest: float) -> tuple[float, ...]:
    """Return five decays in s from low to high frequencies, on a random slope."""
    base = longest * float(np.exp(rng.uniform(np.log(0.08), 0)))
    slope = rng.normal(-0.15, 0.35)
    return tuple(
        float(base * np.exp(slope * (band - 2) + rng.normal(0, 0.25))) for band in range(5)
    )


def draw_hats(
    rng: np.random.Generator, kit: Kit | None, partner: Kit | None, place: tuple[float, float]
) -> Record:
    """Return closed, pedalled and open hats of one alloy: of a kit, or procedural; maybe of two.

    The same tuning and tone colour all three, as one pair of plates makes all three sounds.
    """
    seed = int(rng.integers(1 << 62))
    alloy = draw_filters(rng, "closed")
    ratio = float(np.clip(np.exp(rng.normal(0, 0.25)), 0.45, 1.5))
    shared, toned = rng.uniform() < 0.8, rng.uniform() < 0.85
    bands = draw_bands(rng, 0.9) if rng.uniform() < 0.3 else ()
    share = float(np.exp(rng.uniform(np.log(0.15), 0)))
    record: Record = {}
    for role in ("closed", "pedal", "open"):
        # Half open: choked by the next hit, as hats are.
        source = "open" if role == "closed" and rng.uniform() < 0.3 else role
        shorten = False
        if kit is None:
            voice = kits.synthetic(rng, source, seed)
        else:
            voice, shorten = draw_voice(rng, kit, source)
        if partner is not None:
            voices = kits.find(partner, source)
            voice = kits.blended(rng, voice, voices[int(rng.integers(len(voices)))], share)
        if rng.uniform() < {"pedal": 0.3, "closed": 0.08}.get(role, 0):
            voice = kits.blended(rng, voice, kits.thud(rng), float(rng.uniform(0.03, 0.4)))
        gain = place[0] * decibels(rng.normal(0, 2))
        part = draw_part(rng, voice, role, (gain, place[1]), shorten=shorten)
        if shared:
            tuned = float(ratio * np.exp(rng.normal(0, 0.02)))
            part = replace(part, ratio=tuned, filters=alloy if toned else ())
            longer = 3 if role == "open" else 1
            if not shorten:
                part = replace(part, bands=tuple(each * longer / 3 for each in bands))
        if role == "pedal" and rng.uniform() < 0.5:  # two plates that meet: a dull, short chick
            edge, gain_db = float(rng.uniform(150, 600)), float(rng.uniform(0, 10))
            part = replace(part, filters=(*part.filters, effects.Filter("lowshelf", edge, gain_db)))
            if rng.uniform() < 0.5:
                part = replace(part, decay=float(rng.uniform(0.015, 0.08)))
        record[role] = part
    return record


def draw_part(
    rng: np.random.Generator, voice: Voice, role: str, place: tuple[float, float], *, shorten: bool
) -> Part:
    """Return a voice with its own tuning, length and tone at a place (gain, pan)."""
    gain, pan = place
    stem = ROLES[role]
    spread = {"kick": 0.1, "snare": 0.12, "toms": 0.2, "hihat": 0.25, "cymbals": 0.18}[stem]
    shortest = {"kick": 0.05, "snare": 0.03, "toms": 0.04, "hihat": 0.04, "cymbals": 0.25}[stem]
    longest = {"kick": 0.6, "snare": 0.5, "toms": 0.9, "hihat": 0.6, "cymbals": 2.5}[stem]
    if role == "open":
        shortest, longest = 0.12, 1.2
    decay = float(np.exp(rng.uniform(np.log(shortest), np.log(longest))))
    if shorten:
        decay = float(np.exp(rng.uniform(np.log(0.02), np.log(0.18))))
    low, high = (0.45, 1.5) if stem == "hihat" else (0.6, 1.7)
    return Part(
        voice,
        gain=gain * decibels(rng.normal(0, 1)),
        pan=float(np.clip(pan + rng.normal(0, 0.04), 0, 1)),
        width=float(rng.uniform(0.3, 1.2)),
        ratio=float(np.clip(np.exp(rng.normal(0, spread)), low, high)),
        decay=decay if shorten or rng.uniform() < 0.5 else None,
        attack=draw_attack(rng),
        filters=draw_filters(rng, role) if rng.uniform() < 0.85 else (),
        bands=draw_bands(rng, 4.0) if stem == "cymbals" and rng.uniform() < 0.2 else (),
        crush=draw_crush(rng) if rng.uniform() < 0.04 else None,
    )


def draw_crush(rng: np.random.Generator) -> tuple[int, float]:
    """Return samples held and drive, as of old samplers and drum machines."""
    return int(rng.choice([1, 1, 2, 2, 3])), float(rng.uniform(0.3, 4))


def draw_drum(
    rng: np.random.Generator, stem: str
) -> tuple[float, tuple[effects.Filter, ...]] | None:
    """Return the tuning and tone that all roles of a snare or a set of toms share, or None.

    A snare's rimshots are the same drum, and toms come from one maker and one engineer: what tells
    a rimshot from a tom is which drum it belongs to.
    """
    if stem not in ("snare", "toms") or rng.uniform() < 0.2:
        return None
    ratio = float(np.clip(np.exp(rng.normal(0, 0.17)), 0.6, 1.7))
    tone = effects.random_filters(rng, 3.0) if rng.uniform() < 0.85 else ()
    return ratio, tone + draw_ring(rng)


def draw_ring(rng: np.random.Generator) -> tuple[effects.Filter, ...]:
    """Return up to two overtones of a head, or none: a tom may ring where a snare's body is."""
    if rng.uniform() < 0.6:
        return ()
    return tuple(
        effects.Filter(
            "peak",
            float(np.exp(rng.uniform(np.log(140), np.log(480)))),
            float(rng.uniform(4, 16)),
            float(np.exp(rng.uniform(np.log(2), np.log(12)))),
        )
        for _ in range(int(rng.integers(1, 3)))
    )
