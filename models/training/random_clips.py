"""Draw the records that training hears: kits, grooves, levels and rooms at random."""

from __future__ import annotations

from dataclasses import replace

import effects
import kits
import numpy as np
from kits import Groove, Kit
from machines import draw_machine
from notes import SECONDS, draw_notes
from oscillators import log_uniform
from random_parts import METAL, draw_drum, draw_filters, draw_hats, draw_kit, draw_part, draw_voice
from records import treated
from render import LEVELS, Part, Record, render
from stems import RATE, ROLES, STEMS, Audio, Pcm, decibels

# How often a stem is played by procedural sounds.
SYNTHETIC = {"kick": 0.12, "snare": 0.1, "toms": 0.12, "hihat": 0.3, "cymbals": 0.28}
PLAIN = 0.2  # of clips: a kit's samples as they are, without a room
MACHINE = 0.35  # of clips: a drum machine
DIGITAL = 0.5  # of procedural stems beside real ones: those of a drum machine
LAYERED = 0.12  # of drums and cymbals: two kits' samples struck at once
PATTERNS = {False: 0.25, True: 0.7}  # of clips without and with a machine: a machine's pattern
TREATED = 0.5  # of clips that are not plain: as records are


def draw_record(rng: np.random.Generator, bank: dict[str, Kit]) -> Record:
    """Return parts for all roles: one kit, or each stem from another."""
    names = sorted(bank)
    same = draw_kit(rng, names)
    mixed = rng.uniform() < 0.5
    side = 1 if rng.uniform() < 0.5 else -1
    record: Record = {}
    for stem in STEMS:
        roles = [role for role, owner in ROLES.items() if owner == stem]
        able = [name for name in names if kits.find(bank[name], roles[0])]
        name = draw_kit(rng, able)
        if not mixed and same in able:
            name = same
        made = rng.uniform() < SYNTHETIC[stem]
        machine = draw_machine(rng, (stem,)) if made and rng.uniform() < DIGITAL else None
        mean, spread = LEVELS[stem]
        gain = decibels(rng.normal(mean, spread))
        home = rng.uniform(-0.3, 0.3) if stem in METAL else rng.normal(0, 0.05)
        if stem == "hihat":
            other = draw_kit(rng, able) if rng.uniform() < 0.25 else None
            owner_kit = machine if made else bank[name]
            partner = None if other is None else bank[other]
            record |= draw_hats(rng, owner_kit, partner, (gain, 0.5 + home))
            continue
        drum = draw_drum(rng, stem)
        layer = None
        if not made and rng.uniform() < LAYERED:
            both = rng.uniform() < 0.35  # a machine's sound on an acoustic one
            layer = draw_machine(rng, (stem,)) if both else bank[draw_kit(rng, able)]
        share = float(np.exp(rng.uniform(np.log(0.15), 0)))
        for number, role in enumerate(roles):
            shorten = False
            if made and machine is None:
                voice = kits.synthetic(rng, role)
            else:
                voice, shorten = draw_voice(rng, machine or bank[name], role)
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


def draw_mixture(rng: np.random.Generator, bank: dict[str, Kit]) -> Kit:
    """Draw a machine; in one of three, some stems are those of an acoustic kit or another machine.

    Kits that people call electronic often have real hats and cymbals beside made drums.
    """
    machine = draw_machine(rng)
    odds = 0.45 if rng.uniform() < 0.35 else 0.06
    for stem in STEMS:
        if rng.uniform() > odds:
            continue
        roles = [role for role, owner in ROLES.items() if owner == stem and role in machine]
        able = [name for name in sorted(bank) if kits.find(bank[name], roles[0])]
        other = bank[draw_kit(rng, able)] if rng.uniform() < 0.7 else draw_machine(rng, (stem,))
        machine |= {role: kits.find(other, role) for role in roles}
    return machine


def draw_machine_record(rng: np.random.Generator, machine: Kit) -> Record:
    """Return parts of a machine, treated less than a kit's: that is done in the machine."""
    alone, centred = rng.uniform() < 0.6, rng.uniform() < 0.6
    record: Record = {}
    for stem in STEMS:
        roles = [role for role, owner in ROLES.items() if owner == stem]
        gain = decibels(rng.normal(*LEVELS[stem]))
        ratio = float(np.exp(rng.normal(0, 0.12))) if rng.uniform() < 0.3 else 1.0
        tone = draw_filters(rng, roles[0]) if rng.uniform() < 0.3 else ()
        pan = 0.5 if centred or stem == "kick" else rng.normal(0.5, 0.12)
        for number, role in enumerate(roles):
            apart = 0.0 if centred or stem not in ("toms", "cymbals") else 0.15 * (number - 1)
            voice, shorten = draw_voice(rng, machine, role)
            record[role] = Part(
                voice,
                decay=log_uniform(rng, 0.02, 0.18) if shorten else None,
                gain=gain * decibels(rng.normal(0, 1)),
                pan=float(np.clip(pan + apart, 0, 1)),
                ratio=ratio,
                filters=tone,
                alone=alone,
            )
    return record


def roomed(rng: np.random.Generator, stems: Audio, *, machine: bool) -> Audio:
    """[5, 2, T]: with a room and a plate, which a machine has more rarely and not on all stems."""
    wet = np.zeros_like(stems)
    for reverb, odds, quietest, loudest in (
        (effects.room, 0.3 if machine else 0.65, -26, -6),
        (effects.plate, 0.25, -28, -9),
    ):
        if rng.uniform() < odds:
            level = rng.uniform(quietest, loudest)
            sends = np.array([decibels(level + rng.normal(0, 3)) for _ in STEMS], np.float32)
            sends[0] *= np.float32(0.5)
            if machine:
                sends *= rng.uniform(size=len(STEMS)) < 0.6
            wet += effects.convolved(stems * sends[:, None, None], reverb(rng))
    return stems + wet


def draw_clip(rng: np.random.Generator, bank: dict[str, Kit], grooves: list[Groove]) -> Audio:
    """[5, 2, T]: twelve seconds of a drawn record in a drawn room, or of a plain kit in none."""
    machine = bool(rng.uniform() < MACHINE)
    notes = draw_notes(rng, grooves, PATTERNS[machine])
    plain = rng.uniform() < PLAIN
    if machine:
        kit = draw_mixture(rng, bank)
        record = draw_plain(rng, {"machine": kit}) if plain else draw_machine_record(rng, kit)
    else:
        record = draw_plain(rng, bank) if plain else draw_record(rng, bank)
    stems = render(rng, record, notes, int(SECONDS * RATE))
    if plain:
        return stems
    stems = roomed(rng, stems, machine=machine)
    return treated(rng, stems) if rng.uniform() < TREATED else stems


def quantised(stems: Audio) -> Pcm:
    """[5, 2, T] to int16, the loudest stem or the mix at full scale."""
    peak = max(float(np.abs(stems).max()), float(np.abs(stems.sum(axis=0)).max()), 1e-6)
    return np.round(stems * np.float32(32767 / peak)).astype(np.int16)
