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
MOST_LAYERS = {"train": 14, "validation": 10}
VORBIS = 0.2  # compression level of lossy packs: quality 8, about 250 kbit/s
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
    if not (kits / split).exists():
        return []
    names = {folder.name for folder in (kits / split).iterdir()}
    articulations: dict[tuple[str, ...], list[dict[str, str]]] = {}
    with (kits / "manifest.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["kit"] in names:
                key = (row["kit"], row["class"], row["piece"], row["articulation"])
                articulations.setdefault(key, []).append(row)
    return [row for layers in articulations.values() for row in thinned(layers, split)]


def thinned(layers: list[dict[str, str]], split: str) -> list[dict[str, str]]:
    """Return at most `MOST_LAYERS` rows, spread evenly over velocity."""
    most = MOST_LAYERS[split]
    layers = sorted(layers, key=lambda row: (int(row["velocity"]), row["file"]))
    if len(layers) <= most:
        return layers
    picks = np.linspace(0, len(layers) - 1, most).round().astype(int)
    return [layers[pick] for pick in picks]


def encoded(audio: Pcm, *, lossy: bool) -> np.ndarray:
    """[T, C] to the bytes of a FLAC file, or of an Ogg Vorbis file at a high rate."""
    buffer = io.BytesIO()
    kind = ("OGG", "VORBIS", VORBIS) if lossy else ("FLAC", "PCM_16", 1.0)
    with soundfile.SoundFile(
        buffer,
        "w",
        RATE,
        audio.shape[1],
        kind[1],
        format=kind[0],
        compression_level=kind[2],
    ) as file:
        for start in range(0, len(audio), 4096):  # libsndfile's Vorbis overflows on long blocks
            file.write(audio[start : start + 4096])
    return np.frombuffer(buffer.getvalue(), np.uint8)


def pack_hits(
    folders: list[Path], split: str, *, lossy: bool = False, without: tuple[str, ...] = ()
) -> dict[str, np.ndarray]:
    """Return the arrays of a hit pack: coded hits end to end, their offsets, and JSON.

    `without` names articulations ("PIECE ARTICULATION") that are left out.
    """
    table, blobs = [], []
    for kits, row in ((folder, row) for folder in folders for row in rows(folder, split)):
        name = f"{row['piece']} {row['articulation']}".strip()
        if name in without:
            continue
        path = kits / split / row["kit"] / row["file"]
        audio, rate = soundfile.read(path, dtype="int16", always_2d=True)
        if rate != RATE:
            raise ValueError(f"{path} is at {rate} Hz, not {RATE}")
        blobs.append(encoded(trimmed(audio, row["class"]), lossy=lossy))
        table.append(
            {
                "kit": row["kit"],
                "stem": row["class"],
                "piece": row["piece"],
                "articulation": row["articulation"],
                "role": role_of(row["class"], name),
                "velocity": int(row["velocity"]),
            }
        )
    offsets = np.cumsum([0, *(blob.size for blob in blobs)])
    return {
        "hits": np.concatenate(blobs),
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
    parser.add_argument("--kits", type=Path, required=True, nargs="+")
    parser.add_argument("--grooves", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--lossy", action="store_true", help="training hits as Ogg Vorbis")
    parser.add_argument(
        "--without", nargs="*", default=(), help='validation articulations, "PIECE ARTICULATION"'
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for split in ("train", "validation"):
        train = split == "train"
        without = () if train else tuple(options.without)
        hits = pack_hits(options.kits, split, lossy=options.lossy and train, without=without)
        grooves = pack_grooves(options.grooves, split)
        arrays = hits | {f"groove_{name}": array for name, array in grooves.items()}
        path = options.out / f"{split}.npz"
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
        size = path.stat().st_size / 1e6
        counts = f"{len(hits['offsets']) - 1} hits, {len(grooves['fill'])} grooves"
        print(f"{path}: {counts}, {size:.1f} MB")


if __name__ == "__main__":
    main()
