"""Make a second folder of one-shot samples from freely licensed packages.

Debian's (unpacked with `dpkg -x` into one folder ROOT):
fluid-soundfont-gm (MIT), musescore-general-soundfont (MIT, marching drums CC0),
sonic-pi-samples (the files used: CC0), hydrogen-drumkits (rumpf_kit_z01: CC BY 3.0; Audiophob:
CC0), stk (a permissive licence of its own, much like MIT).
npm's (got with `npm pack NAME@VERSION`; the folder `package` of the archive is ROOT/npm/NAME):
@coderline/alphatab@1.8.4 (soundfont/sonivox.sf2, Android's wavetable: Apache-2.0),
scratch-vm@0.2.0-prerelease.20181004183534 and scratch-audio@0.1.0-prerelease.1516198804
(BSD-3-Clause; later versions are not).
The soundfonts are played note by note by `fluidsynth`, without reverb and chorus.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import mido
import numpy as np
import soundfile
from scipy.signal import resample_poly
from stems import RATE, Audio

SAMPLES = Path("usr/share")
FLUID = SAMPLES / "sounds/sf2/FluidR3_GM.sf2"
MUSESCORE = SAMPLES / "sounds/sf3/MuseScore_General_Full.sf3"
SONIC_PI = SAMPLES / "sonic-pi/samples"
HYDROGEN = SAMPLES / "hydrogen/data/drumkits"
STK = SAMPLES / "stk/rawwaves"
NPM = Path("npm")
SONIVOX = NPM / "@coderline/alphatab/dist/soundfont"
SCRATCH_VM = NPM / "scratch-vm"
SCRATCH_AUDIO = NPM / "scratch-audio"
COPYRIGHTS = (
    "fluid-soundfont-gm",
    "musescore-general-soundfont",
    "sonic-pi-samples",
    "hydrogen-drumkits",
    "stk",
)
LICENCES = {
    "sonivox": SONIVOX / "LICENSE",
    "scratch-vm": SCRATCH_VM / "LICENSE",
    "scratch-audio": SCRATCH_AUDIO / "LICENSE",
}

# Notes of General MIDI's drum map: (stem, piece, articulation).
GM = {
    35: ("kick", "kick2", ""),
    36: ("kick", "kick1", ""),
    37: ("snare", "snare1", "sidestick"),
    38: ("snare", "snare1", ""),
    39: ("snare", "clap", "clap"),
    40: ("snare", "snare2", ""),
    41: ("toms", "tom1", ""),
    43: ("toms", "tom2", ""),
    45: ("toms", "tom3", ""),
    47: ("toms", "tom4", ""),
    48: ("toms", "tom5", ""),
    50: ("toms", "tom6", ""),
    42: ("hihat", "hihat", "closed"),
    44: ("hihat", "hihat", "foot"),
    46: ("hihat", "hihat", "open"),
    49: ("cymbals", "crash1", ""),
    57: ("cymbals", "crash2", ""),
    52: ("cymbals", "china", ""),
    55: ("cymbals", "splash", ""),
    51: ("cymbals", "ride1", ""),
    59: ("cymbals", "ride2", ""),
    53: ("cymbals", "ride1", "bell"),
}
DRUMS = (35, 36, 38, 40, 41, 43, 45, 47, 48, 50)
ALL = tuple(GM)
# Program of the drum bank: (kit, notes, velocities); what repeats another program is left out.
Programs = dict[int, tuple[str, tuple[int, ...], tuple[int, ...]]]
PROGRAMS: Programs = {
    0: ("fluid_standard", ALL, (45, 85, 122)),
    8: ("fluid_room", (*DRUMS, 42, 44, 46), (60, 115)),
    16: ("fluid_power", (*DRUMS, 42, 44, 46), (60, 115)),
    24: ("fluid_electronic", ALL, (60, 115)),
    25: ("fluid_808", ALL, (110,)),
    32: ("fluid_jazz", ALL, (60, 115)),
    40: ("fluid_brush", (38, 39, 40, 42, 44, 46), (60, 115)),
} | {
    program: (f"fluid_{program:02d}", DRUMS[:4], (60, 115))
    for program in (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 17, 18, 19, 33, 34)
}
# Sonivox has one layer, so velocity is only loudness. Left out: notes that repeat another's sample
# a semitone away (its bell is its ride, its pedal its closed hi-hat), in other programs also those
# that they share with the first.
SONIVOX_PROGRAMS: Programs = {
    0: ("sonivox", (*DRUMS[1:], 37, 39, 42, 46, 49, 57, 55, 51), (110,)),
    8: ("sonivox_room", (41, 43, 47, 48, 50), (110,)),
    32: ("sonivox_jazz", (36,), (110,)),
    40: ("sonivox_brush", (38, 40), (110,)),
}
# Marching drums of the MuseScore soundfont: the program and its notes by (stem, articulation).
MARCHING: dict[int, dict[tuple[str, str], tuple[int, ...]]] = {
    56: {("snare", ""): (50, 57), ("snare", "rimshot"): (52,), ("snare", "rim"): (53,)},
    96: {("toms", ""): (36, 48, 60, 72, 84, 96)},
    58: {("cymbals", "crash"): (70, 72)},
}
# Kits for choosing and reporting; the others are for training.
VALIDATION = ("sonic_pi",)
FILES: dict[str, tuple[Path, dict[str, str]]] = {
    "rumpf": (
        HYDROGEN / "rumpf_kit_z01_h2",
        {
            "kick": "06-38 06-46 07-18 07-20 08-12 08-14 06-32",
            "snare": "01-21 06-25 01-23 01-30 01-34 07-14",
            "snare clap": "01-26",
            "snare sidestick": "09-12",
            "toms": "08-17 08-18 08-19 02-12 02-15",
            "hihat closed": "09-10 05-10",
            "hihat foot": "06-28",
            "hihat open": "09-11 08-31",
            "cymbals crash": "06-43 08-20 06-30",
            "cymbals bell": "06-40",
        },
    ),
    "audiophob": (
        HYDROGEN / "Audiophob",
        {
            "hihat closed": "116973__cbeeching__hat-light",
            "hihat open": "104227__minorr__hhat-paiste-302-14-open-p",
            "cymbals crash": "124101__connersaw8__crash",
            "snare": "124382__cubix__8bit-snare 25671__walter-odington__garage-city-snare-snappy",
            "toms": "101450__menegass__tomh 99930__menegass__noise-tom0",
        },
    ),
    "sonic_pi": (
        SONIC_PI,
        {
            "kick": "bd_808 bd_ada bd_boom bd_fat bd_gas bd_haus bd_klub bd_pure bd_sone bd_tek "
            "bd_zome bd_zum drum_bass_hard drum_bass_soft drum_heavy_kick elec_hollow_kick "
            "elec_soft_kick",
            "snare": "drum_snare_hard drum_snare_soft elec_filt_snare elec_hi_snare elec_lo_snare "
            "elec_mid_snare elec_snare sn_dolf sn_dub sn_zome",
            "toms": "drum_tom_hi_hard drum_tom_hi_soft drum_tom_lo_hard drum_tom_lo_soft "
            "drum_tom_mid_hard drum_tom_mid_soft elec_fuzz_tom",
            "hihat closed": "drum_cymbal_closed",
            "hihat foot": "drum_cymbal_pedal",
            "hihat open": "drum_cymbal_open",
            "cymbals crash": "drum_cymbal_hard drum_cymbal_soft drum_splash_hard drum_splash_soft "
            "elec_cymbal",
        },
    ),
    "scratch": (  # its bass drum is Sonic Pi's bd_ada, which is for validation
        SCRATCH_VM / "src/extensions/scratch3_music/assets/drums",
        {
            "snare": "1-snare",
            "snare sidestick": "3-side-stick",
            "snare clap": "8-hand-clap",
            "hihat closed": "6-closed-hi-hat",
            "hihat open": "5-open-hi-hat",
            "cymbals crash": "4-crash-cymbal",
        },
    ),
    "scratch_22k": (
        SCRATCH_AUDIO / "sound-files/drums",
        {
            "kick": "BassDrum(1b)_22k",
            "snare": "SnareDrum(1)_22k",
            "snare sidestick": "SideStick(1)_22k",
            "snare clap": "Clap(1)_22k",
            "toms": "Tom(1)_22k",
            "hihat closed": "HiHatClosed(1)_22k",
            "hihat foot": "HiHatPedal(1)_22k",
            "hihat open": "HiHatOpen(2)_22k",
            "cymbals crash": "Crash(2)_22k",
        },
    ),
    "stk": (
        STK,
        {
            "kick": "bassdrum",
            "snare": "snardrum",
            "toms": "tomlowdr tommiddr tomhidrm",
            "hihat closed": "hihatcym",
            "cymbals ride": "ridecymb",
            "cymbals crash": "crashcym",
        },
    ),
}
STK_RATE = 22050


@dataclass(frozen=True, slots=True)
class Shot:
    """One sample of a kit, [T, C] at `RATE`."""

    kit: str
    stem: str
    piece: str
    articulation: str
    velocity: int
    audio: Audio


def notes_played(
    font: Path, program: int, notes: list[tuple[int, int]], seconds: float, held: int = 1
) -> list[Audio]:
    """Return [T, 2] for each (note, velocity) of a program of the drum bank, held for seconds."""
    ticks = 480
    track = mido.MidiTrack()
    track.append(mido.MetaMessage("set_tempo", tempo=1_000_000))  # a tick is 1 / 480 s
    track.append(mido.Message("program_change", channel=9, program=program))
    for index, (note, velocity) in enumerate(notes):
        wait = round((seconds - held) * ticks) if index else ticks // 2
        track.append(mido.Message("note_on", channel=9, note=note, velocity=velocity, time=wait))
        track.append(mido.Message("note_off", channel=9, note=note, time=held * ticks))
    file = mido.MidiFile(ticks_per_beat=ticks, tracks=[track])
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder) / "notes.mid", Path(folder) / "notes.wav"
        file.save(midi)
        command = ["fluidsynth", "-ni", "-R", "0", "-C", "0", "-g", "0.7", "-r", str(RATE)]
        command += ["-O", "float", "-T", "wav", "-F", str(wav), str(font), str(midi)]
        subprocess.run(command, check=True, capture_output=True)
        audio, _ = soundfile.read(wav, dtype="float32", always_2d=True)
    audio = np.pad(audio, ((0, int(RATE * (seconds + 2))), (0, 0)))
    starts = [int(RATE * (0.5 + seconds * index)) for index in range(len(notes))]
    length = int(RATE * (seconds - 0.1))
    return [onset_first(audio[start : start + length]) for start in starts]


def onset_first(audio: Audio) -> Audio:
    """[T, C]: silence before the hit cut, but for 1 ms."""
    level = np.abs(audio).max(axis=1)
    loud = np.flatnonzero(level > 0.02 * level.max()) if level.any() else np.array([0])
    return audio[max(int(loud[0]) - RATE // 1000, 0) :]


def from_programs(font: Path, programs: Programs) -> list[Shot]:
    """Play the General MIDI kits of a soundfont."""
    shots = []
    seen = set()
    for program, (kit, notes, velocities) in programs.items():
        asked = [(note, velocity) for note in notes for velocity in velocities]
        for (note, velocity), audio in zip(
            asked, notes_played(font, program, asked, 6.0), strict=True
        ):
            key = np.round(audio[:4000] * 1e4).astype(np.int32).tobytes()
            if np.abs(audio).max() < 1e-3 or key in seen:
                continue
            seen.add(key)
            stem, piece, articulation = GM[note]
            shots.append(Shot(kit, stem, piece, articulation, velocity, audio))
    return shots


def from_marching(font: Path) -> list[Shot]:
    """Play the marching snare, tenors and cymbals, which a note's end would choke."""
    shots = []
    for program, parts in MARCHING.items():
        for (stem, articulation), notes in parts.items():
            asked = [(note, velocity) for note in notes for velocity in (60, 115)]
            ring = 5 if stem == "cymbals" else 1
            played = notes_played(font, program, asked, ring + 2.0, held=ring)
            for (note, velocity), audio in zip(asked, played, strict=True):
                if np.abs(audio).max() > 1e-3:
                    shots.append(
                        Shot("marching", stem, f"{stem}{note}", articulation, velocity, audio)
                    )
    return shots


def read(path: Path) -> tuple[Audio, int]:
    """Return [T, C] and the rate of a sample file; the raw ones are those of STK."""
    if path.suffix == ".raw":
        return (np.fromfile(path, ">i2") / 32768).astype(np.float32)[:, None], STK_RATE
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return audio, rate


def from_files(root: Path) -> list[Shot]:
    """Read the sample files that are used, at `RATE`."""
    shots = []
    for kit, (folder, pieces) in FILES.items():
        for what, names in pieces.items():
            stem, _, articulation = what.partition(" ")
            for name in names.split():
                (path,) = (root / folder).glob(f"*{name}.*")
                audio, rate = read(path)
                if rate != RATE:
                    audio = resample_poly(audio, RATE, rate, axis=0).astype(np.float32)
                shots.append(Shot(kit, stem, name, articulation, 110, onset_first(audio)))
    return shots


def write(shots: list[Shot], out: Path) -> None:
    """Write `out/SPLIT/KIT/*.flac` and `out/manifest.csv`."""
    rows = []
    peaks: dict[tuple[str, str], float] = {}
    for shot in shots:
        key = (shot.kit, shot.stem)
        peaks[key] = max(peaks.get(key, 0), float(np.abs(shot.audio).max()))
    for shot in shots:
        parts = (shot.stem, shot.piece, shot.articulation, f"{shot.velocity:03d}")
        name = "-".join(part for part in parts if part) + ".flac"
        split = "validation" if shot.kit in VALIDATION else "train"
        path = out / split / shot.kit / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, shot.audio * (0.9 / peaks[shot.kit, shot.stem]), RATE, "PCM_16")
        rows.append([shot.kit, shot.stem, shot.piece, shot.articulation, shot.velocity, name])
    with (out / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["kit", "class", "piece", "articulation", "velocity", "file"])
        writer.writerows(rows)


def main() -> None:
    """Write the folder; `pack.py --kits KITS OUT` reads it beside the first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("/"), help="where packages are unpacked")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    shots = from_programs(options.root / FLUID, PROGRAMS)
    shots += from_programs(options.root / SONIVOX / "sonivox.sf2", SONIVOX_PROGRAMS)
    shots += from_marching(options.root / MUSESCORE)
    shots += from_files(options.root)
    write(shots, options.out)
    for name in COPYRIGHTS:
        source = options.root / SAMPLES / "doc" / name / "copyright"
        shutil.copy(source, options.out / f"{name}.copyright")
    for name, licence in LICENCES.items():
        shutil.copy(options.root / licence, options.out / f"{name}.licence")
    counts: dict[str, int] = {}
    for shot in shots:
        counts[f"{shot.kit} {shot.stem}"] = counts.get(f"{shot.kit} {shot.stem}", 0) + 1
    print("\n".join(f"{name}: {count}" for name, count in sorted(counts.items())))


if __name__ == "__main__":
    main()
