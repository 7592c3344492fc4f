"""Render songs whose drums are known: mix.wav, drums.wav, rest.wav, and song.json with facts.

PYTHONPATH=models/training python benchmarks/songs.py OUT --songs 4 --seconds 240 --seed 1 \
    --kits KITS --grooves GROOVES [--soundfont FILE ...]

Instruments are written by `composer` and played by FluidSynth with a soundfont of General MIDI;
drums are kits and grooves of models/training/README.md, or with `--drums soundfont` those of the
soundfont, or none. Without `--style` all styles have their turn but `drums alone`. mix.wav is
drums.wav and rest.wav added, to the rounding of 24 bit. A seed gives the same songs again; any
length works, in the memory of half a minute.

Needs Debian's packages `fluidsynth` and a soundfont (`fluid-soundfont-gm`, `timgm6mb-soundfont`,
`musescore-general-soundfont-small`), and Python's `mido` and `scipy` (both in the `dev` extra).
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

try:
    import kits
    import mido
    import pack
    import soundfile
    from composer import STYLES, Song, Track, compose
    from random_clips import draw_plain, draw_record
    from render import Notes, Record, render
    from stems import RATE, ROLES, Audio, decibels
except ImportError as missing:
    sys.exit(
        f"songs.py: {missing}. It runs with PYTHONPATH=models/training and needs the extras "
        "`runtime` and `dev`."
    )
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

FONTS = (
    Path("/usr/share/sounds/sf2/FluidR3_GM.sf2"),
    Path("/usr/share/sounds/sf2/TimGM6mb.sf2"),
    Path("/usr/share/sounds/sf3/MuseScore_General_Lite.sf3"),
)
PIECE = 30 * RATE  # rendered at once
TAIL = 5 * RATE  # the longest hit
TICKS = 960  # of MIDI in a second
STEP = 64  # samples with one gain
SMOOTH = 31  # steps over which gains are averaged
PEAK = decibels(-1.0)
DRUM_CHANNEL = 9
GM_KITS = (0, 8, 16, 24, 25, 32, 40)  # programs of the drum bank
# A note of General MIDI for each role of a groove.
NOTE_OF_ROLE = {"kick": 36, "snare": 38, "rim": 40, "side": 37, "tom1": 50, "tom2": 47, "tom3": 43}
NOTE_OF_ROLE |= {"closed": 42, "pedal": 44, "open": 46, "crash": 49, "ride": 51, "bell": 53}
WHEEL = 4096  # of the pitch wheel: a semitone
ROLE_LIST = tuple(ROLES)
ROLE_IN_KIT = {"tom2": "tom1", "tom3": "tom1"}  # a kit's toms lie under one


@dataclass(frozen=True, slots=True)
class Beat:
    """A groove that someone played: the drummer, beats per minute, and its notes."""

    drummer: str
    bpm: float
    notes: Notes


@dataclass(frozen=True, slots=True)
class Loudness:
    """How a record is mixed: drums beside the rest in dB of RMS, compression, drive."""

    drums_db: float
    threshold_db: float  # below the mix's peak
    strength: float  # 0: nothing is compressed
    drive: float  # 0: nothing is bent


def beats_of(folder: Path, split: str) -> list[Beat]:
    """Read the grooves of a split that are no fills, four to a bar, of four seconds at least."""
    with (folder / "info.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    beats = []
    for row in rows:
        if row["beat_type"] == "beat" and row["time_signature"] == "4-4":
            notes = pack.notes_of(folder / row["midi_filename"])
            if len(notes) and notes[-1, 0] > 4:
                beats.append(Beat(row["drummer"], float(row["bpm"]), notes))
    return beats


def drum_notes(
    rng: np.random.Generator, beats: list[Beat], tempo: float, seconds: float
) -> tuple[str, Notes]:
    """Return a drummer and [n, 3] notes: grooves of theirs, one after another, at a tempo."""
    drummer = beats[int(rng.integers(len(beats)))].drummer
    own = [beat for beat in beats if beat.drummer == drummer]
    own.sort(key=lambda beat: abs(np.log(beat.bpm / tempo)))
    own = own[: max(3, len(own) // 4)]
    parts, time, bar = [], 0.0, 240 / tempo
    while time < seconds:
        beat = own[int(rng.integers(len(own)))]
        notes = beat.notes.copy()
        notes[:, 0] = notes[:, 0] * (beat.bpm / tempo) + time
        parts.append(notes)
        # The next groove begins with a bar.
        time += -(-float(notes[-1, 0] - time) // bar) * bar
    notes = np.concatenate(parts)
    return drummer, notes[notes[:, 0] < seconds]


def played(rng: np.random.Generator, record: Record, notes: Notes, length: int) -> Iterator[Audio]:
    """Yield [2, n] blocks, `length` samples together; a hit rings on into the next block."""
    left = np.zeros((2, TAIL), np.float32)
    for start in range(0, length, PIECE):
        own = notes[(notes[:, 0] >= start / RATE) & (notes[:, 0] < (start + PIECE) / RATE)].copy()
        own[:, 0] -= start / RATE
        sound = render(rng, record, own, PIECE + TAIL).sum(0)
        sound[:, :TAIL] += left
        left = sound[:, PIECE:].copy()
        yield sound[:, : min(PIECE, length - start)]


def bends(track: Track) -> Iterator[tuple[float, mido.Message]]:
    """Yield s and messages that shape tones: voices slide and tremble, a sub bass falls."""
    for note in track.notes:
        for at in np.arange(0, note.seconds, 0.02):
            if track.kind == "sung":
                slide = -0.8 * np.exp(-at / 0.03)
                tremble = 0.35 * np.sin(2 * np.pi * 5.6 * at) * min(at / 0.4, 1)
                value = int(np.clip((slide + tremble) * WHEEL, -8192, 8191))
                yield note.start + at, mido.Message("pitchwheel", pitch=value)
            elif track.kind == "sub":
                value = int(127 * np.exp(-at / 0.9))
                yield note.start + at, mido.Message("control_change", control=11, value=value)


def midi_of(song: Song, drums: Notes | None, kit: int) -> mido.MidiFile:
    """Return the tracks, or only the drums of the soundfont where there are notes for them."""
    events: list[tuple[float, int, mido.Message]] = []
    channels = [channel for channel in range(16) if channel != DRUM_CHANNEL]
    if drums is not None:
        change = mido.Message("program_change", channel=DRUM_CHANNEL, program=kit)
        events.append((0, 0, change))
        for time, role, velocity in drums:
            pitch = NOTE_OF_ROLE[ROLE_LIST[int(role)]]
            for kind, at in (("note_on", time), ("note_off", time + 0.1)):
                message = mido.Message(
                    kind, channel=DRUM_CHANNEL, note=pitch, velocity=int(velocity)
                )
                events.append((float(at), 2, message))
    for channel, track in zip(channels, song.tracks if drums is None else (), strict=False):
        controls = ((0, track.bank), (7, track.volume), (10, track.pan), (11, 127))
        for control, value in controls:
            message = mido.Message("control_change", channel=channel, control=control, value=value)
            events.append((0, 0, message))
        change = mido.Message("program_change", channel=channel, program=track.program)
        events.append((0, 1, change))
        for at, message in bends(track):
            events.append((at, 1, message.copy(channel=channel)))
        for note in track.notes:
            for kind, at in (("note_on", note.start), ("note_off", note.start + note.seconds)):
                message = mido.Message(
                    kind, channel=channel, note=note.pitch, velocity=note.velocity
                )
                events.append((at, 2 if kind == "note_on" else 1, message))
    events.sort(key=lambda event: event[:2])
    line = mido.MidiTrack()
    line.append(mido.MetaMessage("set_tempo", tempo=500_000))
    now = 0
    for at, _, message in events:
        tick = round(at * TICKS)
        line.append(message.copy(time=max(tick - now, 0)))
        now = max(tick, now)
    return mido.MidiFile(ticks_per_beat=TICKS // 2, tracks=[line])


def synthesise(midi: mido.MidiFile, font: Path, wav: Path, *, reverb: bool) -> None:
    """Play notes with a soundfont into a float wav at `RATE`."""
    notes = wav.with_suffix(".mid")
    midi.save(notes)
    command = ["fluidsynth", "-ni", "-R", str(int(reverb)), "-C", "0", "-g", "0.4"]
    # Banks are numbered as MuseScore's soundfont and Fluid's have them.
    command += ["-o", "synth.midi-bank-select=gs", "-r", str(RATE), "-O", "float", "-T", "wav"]
    subprocess.run([*command, "-F", wav, font, notes], check=True, capture_output=True)
    notes.unlink()


def blocks(path: Path, length: int) -> Iterator[Audio]:
    """Yield [2, n] of a file, `length` samples together, zeros behind its end."""
    with soundfile.SoundFile(path) as file:
        for start in range(0, length, PIECE):
            count = min(PIECE, length - start)
            found = file.read(count, dtype="float32", always_2d=True, fill_value=0.0)
            yield np.ascontiguousarray(np.pad(found, ((0, count - len(found)), (0, 0))).T)


def level(path: Path, length: int) -> float:
    """Return the RMS of what sounds: of the blocks of 0.1 s within 40 dB of the loudest."""
    powers = []
    for block in blocks(path, length):
        whole = block[:, : block.shape[1] // 4410 * 4410]
        powers.append(np.square(whole).reshape(2, -1, 4410).mean((0, 2)))
    power = np.concatenate(powers) if powers else np.zeros(1)
    loud = power[power > power.max(initial=0) * 1e-4]
    return float(np.sqrt(loud.mean())) if loud.size else 0.0


def averaged(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n] to the same: the mean of `SMOOTH` neighbours."""
    padded = np.pad(values, SMOOTH // 2, mode="edge")
    return np.convolve(padded, np.full(SMOOTH, 1 / SMOOTH), mode="valid")


def gains_of(peaks: NDArray[np.float64], how: Loudness) -> NDArray[np.float64]:
    """[steps]: the mix's peaks to the gains of a compressor, the loudest place at full scale."""
    peaks = peaks / max(float(peaks.max()), 1e-9)
    over = np.maximum(20 * np.log10(np.maximum(peaks, 1e-5)) - how.threshold_db, 0)
    gains = 10 ** (averaged(-over * how.strength) / 20)
    return np.asarray(gains / max(float((gains * peaks).max()), 1e-9))


def mix(parts: dict[str, Path], out: Path, length: int, how: Loudness) -> None:
    """Write mix, drums and rest: levels, compressor and drive are one gain for both at a time."""
    loud = {name: level(path, length) for name, path in parts.items()}
    scale = {"rest": np.float32(1.0), "drums": np.float32(0.0)}
    if loud["drums"] > 0:
        ratio = loud["rest"] / loud["drums"] if loud["rest"] > 0 else 1.0
        scale["drums"] = np.float32(ratio * decibels(how.drums_db))

    def pairs() -> Iterator[tuple[Audio, Audio]]:
        for drums, rest in zip(
            *(blocks(parts[name], length) for name in ("drums", "rest")), strict=True
        ):
            yield drums * scale["drums"], rest * scale["rest"]

    peaks = np.concatenate([peaks_of(drums + rest) for drums, rest in pairs()])
    gains = gains_of(peaks.astype(np.float64), how) / max(float(peaks.max()), 1e-9)
    names = ("mix", "drums", "rest")
    files = {
        name: soundfile.SoundFile(out / f"{name}.wav", "w", RATE, 2, "PCM_24") for name in names
    }
    at = 0
    for drums, rest in pairs():
        steps = -(-drums.shape[1] // STEP)
        gain = np.repeat(gains[at : at + steps], STEP)[: drums.shape[1]].astype(np.float32)
        at += steps
        driven = (drums + rest) * gain * np.float32(max(how.drive, 1e-3))
        safe = np.where(np.abs(driven) < 1e-3, 1, driven)
        bent = np.where(np.abs(driven) < 1e-3, 1, np.tanh(driven) / safe)
        most = np.float32(np.tanh(max(how.drive, 1e-3)) / max(how.drive, 1e-3))
        gain = gain * bent / most * np.float32(PEAK)
        for name, part in (("mix", drums + rest), ("drums", drums), ("rest", rest)):
            files[name].write((part * gain).T)
    for file in files.values():
        file.close()


def peaks_of(block: Audio) -> Audio:
    """[2, n] to the highest sample of every step."""
    padded = np.pad(np.abs(block).max(0), (0, -block.shape[1] % STEP))
    return np.asarray(padded.reshape(-1, STEP).max(1))


def save(path: Path, parts: Iterator[Audio]) -> None:
    """Write [2, n] blocks as float wav."""
    with soundfile.SoundFile(path, "w", RATE, 2, "FLOAT", format="WAV") as file:
        for part in parts:
            file.write(part.T)


def drawn(rng: np.random.Generator) -> Loudness:
    """Draw how a song is mixed: one in three neither compressed nor driven."""
    drums_db = float(rng.uniform(-10, 4))
    if rng.uniform() < 1 / 3:
        return Loudness(drums_db, 0.0, 0.0, 0.0)
    return Loudness(
        drums_db,
        float(rng.uniform(-24, -6)),
        float(rng.uniform(0.2, 0.7)),
        float(rng.choice([0.0, rng.uniform(0.5, 3)])),
    )


def make(
    folder: Path,
    seed: tuple[int, int],
    own: argparse.Namespace,
    bank: dict[str, kits.Kit],
    beats: list[Beat],
) -> dict[str, object]:
    """Render one song into a folder and return what it is."""
    rng = np.random.default_rng(seed)
    length = round(own.seconds * RATE)
    styles = own.style or [name for name, style in STYLES.items() if style.layers]
    song = compose(rng, styles[seed[1] % len(styles)], own.seconds)
    drummer, notes = drum_notes(rng, beats, song.tempo, own.seconds)
    font = own.soundfont[int(rng.integers(len(own.soundfont)))]
    how = drawn(rng)
    kit = ""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        parts = {name: Path(scratch) / f"{name}.wav" for name in ("drums", "rest")}
        reverb = bool(rng.uniform() < 0.6)
        synthesise(midi_of(song, None, 0), font, parts["rest"], reverb=reverb)
        if own.drums == "soundfont":
            program = GM_KITS[int(rng.integers(len(GM_KITS)))]
            kit = f"{font.stem} {program}"
            synthesise(midi_of(song, notes, program), font, parts["drums"], reverb=reverb)
        elif own.drums == "none":
            save(parts["drums"], iter(()))
        else:
            kit = sorted(bank)[int(rng.integers(len(bank)))]
            few = {kit: bank[kit]}
            whole = all(kits.find(bank[kit], ROLE_IN_KIT.get(role, role)) for role in ROLES)
            if not whole:  # others lend what it lacks
                few = bank
            varied = bool(rng.uniform() < 0.5)
            kit = (kit if whole else "several kits") + (", varied" if varied else "")
            record = (draw_record if varied else draw_plain)(rng, few)
            save(parts["drums"], played(rng, record, notes, length))
        mix(parts, folder, length, how)
    return {
        "style": song.style,
        "tempo": song.tempo,
        "key": song.key,
        "mode": song.mode,
        "programs": [track.program for track in song.tracks],
        "soundfont": font.name,
        "drums": own.drums,
        "kit": kit,
        "drummer": drummer,
        "drums_db": how.drums_db,
        "compressed": how.strength > 0,
        "seed": list(seed),
    }


def main() -> None:
    """Write OUT/song-0001 and so on; each is there when its song.json is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--songs", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kits", type=Path, nargs="+", required=True)
    parser.add_argument("--grooves", type=Path, required=True)
    parser.add_argument("--split", choices=("train", "validation"), default="train")
    parser.add_argument("--soundfont", type=Path, nargs="+", help="any of these for a song")
    parser.add_argument("--style", choices=sorted(STYLES), nargs="+", help="in turn")
    parser.add_argument("--drums", choices=("kits", "soundfont", "none"), default="kits")
    own = parser.parse_args()
    if not shutil.which("fluidsynth"):
        parser.error("fluidsynth is not installed; see the first lines of this file")
    own.soundfont = own.soundfont or [font for font in FONTS if font.exists()]
    missing = [font for font in own.soundfont if not font.is_file()]
    if missing or not own.soundfont:
        parser.error(f"no soundfont: {', '.join(map(str, missing or FONTS))}")
    for folder, name in ((each, "manifest.csv") for each in own.kits):
        if not (folder / name).is_file():
            parser.error(f"no kits: {folder / name} is not there")
    if not (own.grooves / "info.csv").is_file():
        parser.error(f"no grooves: {own.grooves / 'info.csv'} is not there")
    if any(own.out.glob("song-*")):
        parser.error(f"there are songs in {own.out}; name another folder")
    bank = kits.kits_of(kits_arrays(own.kits, own.split)) if own.drums == "kits" else {}
    beats = beats_of(own.grooves, own.split)
    for index in range(own.songs):
        folder = own.out / f"song-{index + 1:04}"
        folder.mkdir(parents=True)
        facts = make(folder, (own.seed, index), own, bank, beats)
        (folder / "song.json").write_text(json.dumps(facts, indent=1) + "\n")
        print(folder, facts["style"], facts["soundfont"], facts["kit"], flush=True)


def kits_arrays(folders: list[Path], split: str) -> kits.Arrays:
    """Read the hits of a split."""
    return dict(pack.pack_hits(folders, split))


if __name__ == "__main__":
    main()
