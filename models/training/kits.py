"""Kits and grooves read from a pack, or straight from their folders."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import metals
import numpy as np
import pack
import soundfile
import synth
from stems import RATE, ROLES, Pcm

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Arrays = dict[str, np.ndarray]
# What stands in where a kit has no sample for a role.
INSTEAD = {"rim": "snare", "side": "rim", "pedal": "closed", "open": "closed", "bell": "ride"}
INSTEAD |= {"ride": "crash", "crash": "ride", "closed": "open", "snare": "rim"}


@dataclass(frozen=True, slots=True)
class Voice:
    """One articulation: hits [T, C] by rising velocity, on a scale where the stem's peak is 1."""

    velocities: NDArray[np.int64]
    hits: tuple[Pcm, ...]
    scale: float
    pitch: float
    name: str = ""  # "PIECE ARTICULATION"

    def pick(self, rng: np.random.Generator, velocity: float) -> tuple[int, float]:
        """Return a hit's index among the nearest layers, and the gain its layer still needs."""
        distance = np.abs(self.velocities - velocity)
        near = np.argsort(distance, kind="stable")[:3]
        near = near[distance[near] <= distance[near[0]] + 8]
        index = int(rng.choice(near))
        gain = (velocity / float(self.velocities[index])) ** 1.5
        return index, float(np.clip(gain, 0.03, 1.6))


Kit = dict[str, list[Voice]]


@dataclass(frozen=True, slots=True)
class Groove:
    """[notes, 3]: time in s, role's index in `ROLES`, velocity; and whether it is a fill."""

    notes: NDArray[np.float32]
    fill: bool


def pitch_of(audio: Pcm) -> float:
    """Return the strongest frequency between 50 and 400 Hz of a hit [T, C]."""
    size = 1 << 15
    spectrum = np.abs(np.fft.rfft(audio[:size].astype(np.float64).mean(axis=1), size))
    low, high = (round(f * size / RATE) for f in (50, 400))
    return (low + int(spectrum[low:high].argmax())) * RATE / size


def voice(hits: list[tuple[int, Pcm]], scale: float, name: str = "") -> Voice:
    """Make a voice of (velocity, [T, C]) pairs."""
    hits = sorted(hits, key=lambda hit: hit[0])
    return Voice(
        np.array([velocity for velocity, _ in hits]),
        tuple(audio for _, audio in hits),
        scale,
        pitch_of(hits[-1][1]),
        name,
    )


def kits_of(arrays: Arrays) -> dict[str, Kit]:
    """Decode a hit pack into kits; toms lie under "tom1", highest first."""
    table = json.loads(str(arrays["table"]))
    offsets, coded = arrays["offsets"], arrays["hits"]
    groups: dict[tuple[str, str, str, str], list[tuple[int, Pcm]]] = {}
    peaks: dict[tuple[str, str], int] = {}
    for index, entry in enumerate(table):
        blob = coded[offsets[index] : offsets[index + 1]].tobytes()
        audio, _ = soundfile.read(io.BytesIO(blob), dtype="int16", always_2d=True)
        role = "tom1" if entry["stem"] == "toms" else entry["role"]
        key = (entry["kit"], role, entry["piece"], entry["articulation"])
        groups.setdefault(key, []).append((entry["velocity"], audio))
        stem = (entry["kit"], entry["stem"])
        peaks[stem] = max(peaks.get(stem, 1), int(np.abs(audio.astype(np.int32)).max()))
    kits: dict[str, Kit] = {}
    for (name, role, piece, articulation), hits in groups.items():
        scale = 1.0 / peaks[name, ROLES[role]]
        sound = voice(hits, scale, f"{piece} {articulation}".strip())
        kits.setdefault(name, {}).setdefault(role, []).append(sound)
    for kit in kits.values():
        kit.get("tom1", []).sort(key=lambda tom: -tom.pitch)
    return kits


def grooves_of(arrays: Arrays) -> list[Groove]:
    """Return the grooves of a pack, the empty ones left out."""
    offsets = arrays["groove_offsets"]
    parts = zip(offsets, offsets[1:], arrays["groove_fill"], strict=False)
    grooves = [Groove(arrays["groove_notes"][a:b], bool(fill)) for a, b, fill in parts]
    return [groove for groove in grooves if len(groove.notes)]


def load(path: Path) -> tuple[dict[str, Kit], list[Groove]]:
    """Read a pack written by `pack.py`."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    return kits_of(arrays), grooves_of(arrays)


def read(kits: list[Path], grooves: Path, split: str) -> tuple[dict[str, Kit], list[Groove]]:
    """Read the folders that `pack.py` reads; the result is the same."""
    arrays: Arrays = dict(pack.pack_hits(kits, split))
    arrays |= {f"groove_{name}": part for name, part in pack.pack_grooves(grooves, split).items()}
    return kits_of(arrays), grooves_of(arrays)


def find(kit: Kit, role: str) -> list[Voice]:
    """Return the voices for a role, or for what stands in for it; [] where the kit has none."""
    seen = set()
    while role not in seen:
        if kit.get(role):
            return kit[role]
        seen.add(role)
        role = INSTEAD.get(role, role)
    return []


def blended(rng: np.random.Generator, first: Voice, second: Voice, share: float) -> Voice:
    """Return a voice that strikes two at once; the second has `share` of the first's peak."""
    picks = np.linspace(0, len(first.hits) - 1, min(len(first.hits), 3)).round().astype(int)
    hits = []
    for pick in picks:
        index, _ = second.pick(rng, float(first.velocities[pick]))
        parts = [first.hits[pick].astype(np.float32), second.hits[index].astype(np.float32)]
        parts = [np.repeat(part, 2, axis=1) if part.shape[1] == 1 else part for part in parts]
        peak = max(float(np.abs(parts[0]).max()), 1.0)
        other = parts[1][: len(parts[0])] * (share * peak / max(float(np.abs(parts[1]).max()), 1.0))
        parts[0][: len(other)] += other
        gain = peak / max(float(np.abs(parts[0]).max()), 1.0)
        hits.append((int(first.velocities[pick]), np.round(parts[0] * gain).astype(np.int16)))
    return voice(hits, first.scale, first.name)


def synthetic(rng: np.random.Generator, role: str, seed: int | None = None) -> Voice:
    """Draw a procedural voice of one or two hits; a hat's roles share an alloy by one `seed`."""
    seed = int(rng.integers(1 << 62)) if seed is None else seed
    textured = ROLES[role] in ("hihat", "cymbals") and seed % 10 < 7
    hits = []
    for velocity in (60, 110)[: int(rng.integers(1, 3))]:
        # The same seed gives the same drum; hits differ by their level and the renderer's gains.
        own = np.random.default_rng(seed)
        if textured:
            sound = metals.hihat(own, role) if ROLES[role] == "hihat" else metals.cymbal(own, role)
        else:
            sound = synth.hit(own, role)
        gain = 32000 * (velocity / 120) ** 1.5 * rng.uniform(0.9, 1)
        sound = sound / max(float(np.abs(sound).max()), 1e-6)
        hits.append((velocity, np.round(sound.T * gain).astype(np.int16)))
    return voice(hits, 1 / 32000, "synthetic")


def thud(rng: np.random.Generator) -> Voice:
    """Draw what a foot's hat has below the plates' sound."""
    sound = metals.thud(rng)
    pcm = np.round(sound.T * (32000 / max(float(np.abs(sound).max()), 1e-6))).astype(np.int16)
    return voice([(100, pcm)], 1 / 32000, "thud")
