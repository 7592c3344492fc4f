"""Draw the records that training hears: kits, grooves, levels and rooms at random."""

from __future__ import annotations

from dataclasses import replace

import effects
import kits
import numpy as np
from kits import Groove, Kit, Voice
from render import LEVELS, ROLE_LIST, Notes, Part, Record, render, window
from stems import RATE, ROLES, STEMS, Audio, Pcm, decibels

# How often a stem is played by procedural sounds, and how kits are weighted where they have it.
SYNTHETIC = {"kick": 0.12, "snare": 0.1, "toms": 0.12, "hihat": 0.3, "cymbals": 0.28}
WEIGHTS = {"muldjord": 3.0, "karoryfer_mixed": 3.0, "gogodze_phu_2": 3.0, "vcsl_concert": 0.4}
WEIGHTS |= {"pearl_master_studio": 2.0, "boochi44_lofi808": 0.4, "gogodze_phu_2_retro": 1.5}
WEIGHTS |= {"fluid_standard": 2.0, "fluid_electronic": 1.5, "marching": 0.5, "fluid_808": 0.5}
METAL = ("hihat", "cymbals")
PLAIN = 0.15  # of clips: a kit's samples as they are, without a room
MACHINE = 0.08  # of the others: all stems procedural
LAYERED = 0.12  # of drums and cymbals: two kits' samples struck at once
OTHERS = 0.5  # the weight of soundfont programs that have but a kick and a snare of their own
SECONDS = 12.0


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
            filters += (effects.Filter("peak", frequency, float(rng.uniform(3, 18)), q),)
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
        source = "open" if role == "closed" and rng.uniform() < 0.25 else role
        shorten = False
        if kit is None:
            voice = kits.synthetic(rng, source, seed)
        else:
            voice, shorten = draw_voice(rng, kit, source)
        if partner is not None:
            voices = kits.find(partner, source)
            voice = kits.blended(rng, voice, voices[int(rng.integers(len(voices)))], share)
        gain = place[0] * decibels(rng.normal(0, 2))
        part = draw_part(rng, voice, role, (gain, place[1]), shorten=shorten)
        if shared:
            tuned = float(ratio * np.exp(rng.normal(0, 0.02)))
            part = replace(part, ratio=tuned, filters=alloy if toned else ())
            longer = 3 if role == "open" else 1
            if not shorten:
                part = replace(part, bands=tuple(each * longer / 3 for each in bands))
        if role == "pedal" and rng.uniform() < 0.5:  # two plates that meet: a dull, short chick
            edge, gain_db = float(rng.uniform(150, 600)), float(rng.uniform(0, 14))
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


def draw_record(rng: np.random.Generator, bank: dict[str, Kit]) -> Record:
    """Return parts for all roles: one kit, or each stem from another."""
    names = sorted(bank)
    same = draw_kit(rng, names)
    mixed = rng.uniform() < 0.5
    machine = rng.uniform() < MACHINE
    side = 1 if rng.uniform() < 0.5 else -1
    record: Record = {}
    for stem in STEMS:
        roles = [role for role, owner in ROLES.items() if owner == stem]
        able = [name for name in names if kits.find(bank[name], roles[0])]
        name = draw_kit(rng, able)
        if not mixed and same in able:
            name = same
        made = machine or rng.uniform() < SYNTHETIC[stem]
        mean, spread = LEVELS[stem]
        gain = decibels(rng.normal(mean, spread))
        home = rng.uniform(-0.3, 0.3) if stem in METAL else rng.normal(0, 0.05)
        if stem == "hihat":
            other = draw_kit(rng, able) if rng.uniform() < 0.25 else None
            owner_kit = None if made else bank[name]
            partner = None if other is None else bank[other]
            record |= draw_hats(rng, owner_kit, partner, (gain, 0.5 + home))
            continue
        drum = draw_drum(rng, stem)
        layer = bank[draw_kit(rng, able)] if not made and rng.uniform() < LAYERED else None
        share = float(np.exp(rng.uniform(np.log(0.15), 0)))
        for number, role in enumerate(roles):
            shorten = False
            if made:
                voice = kits.synthetic(rng, role)
            else:
                voice, shorten = draw_voice(rng, bank[name], role)
            if layer is not None:
                voice = kits.blended(rng, voice, draw_voice(rng, layer, role)[0], share)
            offset = home + (side * 0.18 * (number - 1) if stem == "toms" else 0)
            offset += rng.normal(0, 0.15) if stem == "cymbals" else 0
            place = (gain, 0.5 + offset)
            part = draw_part(rng, voice, role, place, shorten=shorten)
            if drum is not None:
                tuned = float(drum[0] * np.exp(rng.normal(0, 0.02)))
                part = replace(part, ratio=tuned, filters=drum[1])
            record[role] = part
    return record


def draw_plain(rng: np.random.Generator, bank: dict[str, Kit]) -> Record:
    """Return parts as one kit's samples are; the stems it lacks come from other kits."""
    same = draw_kit(rng, sorted(bank))
    record: Record = {}
    for stem in STEMS:
        roles = [role for role, owner in ROLES.items() if owner == stem]
        able = [name for name in sorted(bank) if kits.find(bank[name], roles[0])]
        kit = bank[same if same in able else draw_kit(rng, able)]
        gain = decibels(rng.normal(*LEVELS[stem]))
        for role in roles:
            voices = [draw_voice(rng, kit, role)[0]] if stem == "toms" else kits.find(kit, role)
            record[role] = Part(voices[int(rng.integers(len(voices)))], gain=gain)
    return record


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


def draw_notes(rng: np.random.Generator, grooves: list[Groove]) -> Notes:
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
    if rng.uniform() < 0.3:  # the foot keeps time
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


def draw_clip(rng: np.random.Generator, bank: dict[str, Kit], grooves: list[Groove]) -> Audio:
    """[5, 2, T]: twelve seconds of a drawn record in a drawn room, or of a plain kit in none."""
    notes = draw_notes(rng, grooves)
    if rng.uniform() < PLAIN:
        return render(rng, draw_plain(rng, bank), notes, int(SECONDS * RATE))
    stems = render(rng, draw_record(rng, bank), notes, int(SECONDS * RATE))
    wet = np.zeros_like(stems)
    for reverb, odds, quietest, loudest in (
        (effects.room, 0.65, -26, -6),
        (effects.plate, 0.25, -28, -9),
    ):
        if rng.uniform() < odds:
            level = rng.uniform(quietest, loudest)
            sends = np.array([decibels(level + rng.normal(0, 3)) for _ in STEMS], np.float32)
            sends[0] *= np.float32(0.5)
            wet += effects.convolved(stems * sends[:, None, None], reverb(rng))
    return stems + wet


def quantised(stems: Audio) -> Pcm:
    """[5, 2, T] to int16, the loudest stem or the mix at full scale."""
    peak = max(float(np.abs(stems).max()), float(np.abs(stems.sum(axis=0)).max()), 1e-6)
    return np.round(stems * np.float32(32767 / peak)).astype(np.int16)
