"""Pack one-shot samples and grooves into two small files that training can take anywhere."""

from __future__ import annotations

import argparse
import csv
import io
import json
from pathlib import Path

import mido
import numpy as np
import soundfile
from stems import RATE, ROLE_OF_NOTE, ROLES, Pcm, decibels

# A hit ends where it stays this far below its own peak, or at the longest length of its stem.
FLOOR_DB = -62.0
LONGEST = {"kick": 2.0, "snare": 2.0, "toms": 2.5, "hihat": 2.5, "cymbals": 4.5}
# More velocity layers of one articulation than this add size and little else.
MOST_LAYERS = 10
ROLE_LIST = tuple(ROLES)


def trimmed(audio: Pcm, stem: str) -> Pcm:
    """[T, C] to [T', 1 or 2]: the tail cut, faded; one channel where both are the same."""
    level = np.abs(audio.astype(np.int32)).max(axis=1)
    loud = np.flatnonzero(level > level.max() * decibels(FLOOR_DB))
    end = min(int(loud[-1]) + 1 if loud.size else 1, int(LONGEST[stem] * RATE))
    out = audio[:end].astype(np.float64)
    fade = min(end, RATE // 2 if end == int(LONGEST[stem] * RATE) else 441)
    out[-fade:] *= np.cos(np.linspace(0, np.pi / 2, fade))[:, None] ** 2
    if audio.shape[1] == 2 and np.array_equal(audio[:, 0], audio[:, 1]):
        out = out[:, :1]
    return np.round(out).astype(np.int16)


def role_of(stem: str, name: str) -> str:
    """Return what a sample may play, from the words of its piece and articulation."""
    name = name.lower()

    def has(*words: str) -> bool:
        return any(word in name for word in words)

    if stem == "kick":
        return "kick"
    if stem == "toms":
        return "tom2"  # a kit's toms are ordered by pitch when it is loaded
    if stem == "snare":
        if has("sidestick", "xstick", "stick"):
            return "side"
        return "rim" if has("rim", "edge", "rest", "clap", "taps") else "snare"
    if stem == "hihat":
        if has("foot", "pedal"):
            return "pedal"
        closed = has("halfclosed", "closed", "clsd", "tight", "ch ", "-ch-")
        return "open" if not closed and has("open", "half", "loose", "oh") else "closed"
    if has("bell"):
        return "bell"
    return "ride" if has("ride") else "crash"


def rows(kits: Path, split: str) -> list[dict[str, str]]:
    """Return the manifest's rows whose kit lies in the folder of this split."""
    names = {folder.name for folder in (kits / split).iterdir()}
    articulations: dict[tuple[str, ...], list[dict[str, str]]] = {}
    with (kits / "manifest.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["kit"] in names:
                key = (row["kit"], row["class"], row["piece"], row["articulation"])
                articulations.setdefault(key, []).append(row)
    return [row for layers in articulations.values() for row in thinned(layers)]


def thinned(layers: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return at most `MOST_LAYERS` rows, spread evenly over velocity."""
    layers = sorted(layers, key=lambda row: (int(row["velocity"]), row["file"]))
    if len(layers) <= MOST_LAYERS:
        return layers
    picks = np.linspace(0, len(layers) - 1, MOST_LAYERS).round().astype(int)
    return [layers[pick] for pick in picks]


def pack_hits(kits: Path, split: str) -> dict[str, np.ndarray]:
    """Return the arrays of a hit pack: FLAC bytes end to end, their offsets, and JSON."""
    table, blobs = [], []
    for row in rows(kits, split):
        path = kits / split / row["kit"] / row["file"]
        audio, rate = soundfile.read(path, dtype="int16", always_2d=True)
        if rate != RATE:
            raise ValueError(f"{path} is at {rate} Hz, not {RATE}")
        buffer = io.BytesIO()
        soundfile.write(
            buffer,
            trimmed(audio, row["class"]),
            RATE,
            "PCM_16",
            format="FLAC",
            compression_level=1.0,
        )
        blobs.append(np.frombuffer(buffer.getvalue(), np.uint8))
        role = role_of(row["class"], f"{row['piece']} {row['articulation']}")
        table.append(
            {
                "kit": row["kit"],
                "stem": row["class"],
                "piece": row["piece"],
                "articulation": row["articulation"],
                "role": role,
                "velocity": int(row["velocity"]),
            }
        )
    offsets = np.cumsum([0, *(blob.size for blob in blobs)])
    return {
        "flac": np.concatenate(blobs),
        "offsets": offsets,
        "table": np.array(json.dumps(table)),
    }


def notes_of(path: Path) -> np.ndarray:
    """[notes, 3] float32: time in s, role's index in `ROLES`, velocity 1..127."""
    found = []
    time = 0.0
    for message in mido.MidiFile(path):
        time += message.time
        if message.type == "note_on" and message.velocity and message.note in ROLE_OF_NOTE:
            role = ROLE_LIST.index(ROLE_OF_NOTE[message.note])
            found.append((time, role, message.velocity))
    return np.array(found, np.float32).reshape(-1, 3)


def pack_grooves(grooves: Path, split: str) -> dict[str, np.ndarray]:
    """Return the arrays of a groove pack: all notes end to end, offsets, and which are fills."""
    with (grooves / "info.csv").open(newline="") as file:
        info = [row for row in csv.DictReader(file) if row["split"] == split]
    notes = [notes_of(grooves / row["midi_filename"]) for row in info]
    return {
        "notes": np.concatenate(notes),
        "offsets": np.cumsum([0, *(len(part) for part in notes)]),
        "fill": np.array([row["beat_type"] == "fill" for row in info]),
    }


def main() -> None:
    """Write OUT/train.npz and OUT/validation.npz."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kits", type=Path, required=True)
    parser.add_argument("--grooves", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for split in ("train", "validation"):
        hits = pack_hits(options.kits, split)
        grooves = pack_grooves(options.grooves, split)
        arrays = hits | {f"groove_{name}": array for name, array in grooves.items()}
        path = options.out / f"{split}.npz"
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
        size = path.stat().st_size / 1e6
        counts = f"{len(hits['offsets']) - 1} hits, {len(grooves['fill'])} grooves"
        print(f"{path}: {counts}, {size:.1f} MB")


if __name__ == "__main__":
    main()
