"""Where the time of a whole `sep run` goes, and what another version of it takes, by turns.

python benchmarks/whole_command.py [--against CHECKOUT | --python OTHER] [--runs 5] [--seconds 30]
    [--rate 44100] [--tracks 1] [--formats wav flac] [sep run's options, as --model larsnet]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

CLIP = Path(__file__).parent.parent / "models" / "sep_models" / "golden.flac"
ROOMS = ("launcher", "runtime", "models", "containers")
PARTS = {
    "launcher": "start to the runtime's first word",
    "import": "torch and the like",
    "load": "the device and the model",
    "first": "to the first sound out of the network",
    "middle": "to the last",
    "tail": "the end of encoding, fsync, report, renames, all tracks but the first",
    "exit": "to the end of the command",
    "whole": "",
    "cpu": "of all its processes: what other programs do changes it little",
}


@dataclass(slots=True)
class Side:
    """One version of sep, and what its runs took."""

    name: str
    python: str
    environment: dict[str, str]
    found: list[dict[str, float]] = field(default_factory=list)
    stems: dict[str, str] = field(default_factory=dict)


def make(folder: Path, seconds: float, rate: int, tracks: int) -> list[Path]:
    """Write mixes: the golden clip again and again, 16 bit, read as of the rate that is wanted."""
    clip, _ = soundfile.read(CLIP, dtype="float32", always_2d=True)
    paths = []
    for i in range(tracks):
        frames = round(seconds * rate)
        mix = np.tile(np.roll(clip, i * 9999, 0), (-(-frames // len(clip)), 1))[:frames]
        paths.append(folder / f"mix {i}.wav")
        soundfile.write(paths[-1], mix, rate)
    return paths


def run(side: Side, mixes: list[Path], out: Path, options: list[str]) -> None:
    """Run once and note what each part took."""
    command = [side.python, "-P", "-m", "sep_launcher", "run", *map(str, mixes), "--events", "-q"]
    marks: dict[str, float] = {}
    before, begun = cpu(), time.perf_counter()
    with subprocess.Popen(
        [*command, "--out", str(out), *options],
        env={**os.environ, **side.environment},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stdout or ():
            now, told = time.perf_counter() - begun, json.loads(line)
            kind = told["event"]
            if kind == "phase":
                marks.setdefault(told["name"], now)
            elif kind == "progress" and told["done"]:
                marks.setdefault("first", now)
                if not told["track"]:
                    marks["last"] = now
            else:
                marks[kind] = now
    whole = time.perf_counter() - begun
    if process.returncode:
        sys.exit(f"{side.name} failed with code {process.returncode}")
    names = ("hello", "load", "separate", "first", "last", "done")
    ends = [*(marks[name] for name in names), whole]
    starts = [0.0, *ends[:-1]]
    spans = [end - start for start, end in zip(starts, ends, strict=True)]
    side.found.append(dict(zip(PARTS, [*spans, whole, cpu() - before], strict=True)))
    side.stems = {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.suffix != ".json"
    }


def cpu() -> float:
    """Return the seconds of processor time of all processes that have ended."""
    used = os.times()
    return used.children_user + used.children_system


def show(sides: list[Side]) -> None:
    """Print medians, and ratios where there are two sides."""
    ratio = "     ratio" if len(sides) > 1 else ""
    print(f"  {'':9}" + "".join(f"{side.name:>10}" for side in sides) + ratio)
    for part, what in PARTS.items():
        row = [statistics.median(found[part] for found in side.found) for side in sides]
        ratio = f"{row[-1] / row[0]:8.2f} x" if len(row) > 1 and row[0] else ""
        print(f"  {part:9}" + "".join(f"{cell:8.2f} s" for cell in row) + f"{ratio}  {what}")
    if len(sides) > 1:
        same = sides[0].stems == sides[1].stems
        count = len(sides[0].stems)
        print(f"  {count} files: {'the same bytes' if same else 'NOT the same bytes'}", flush=True)


def main() -> None:
    """Take turns; print a table for each format."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--against", type=Path, help="a checkout; its code in this environment")
    parser.add_argument("--python", help="a Python that has another sep")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--rate", type=int, default=44100)
    parser.add_argument("--tracks", type=int, default=1)
    parser.add_argument("--formats", nargs="+", default=["wav", "flac"])
    own, options = parser.parse_known_args()
    for file_format in own.formats:
        sides = [Side("this", sys.executable, {})]
        if own.against:
            rooms = os.pathsep.join(str(own.against.absolute() / room) for room in ROOMS)
            sides.append(Side("other", sys.executable, {"PYTHONPATH": rooms}))
        if own.python:
            sides.append(Side("other", own.python, {"SEP_RUNTIME_PYTHON": own.python}))
        with tempfile.TemporaryDirectory() as name:
            mixes = make(Path(name), own.seconds, own.rate, own.tracks)
            for number in range(own.runs):
                for side in sides if number % 2 else sides[::-1]:
                    out = Path(name, f"{side.name} {number}")
                    run(side, mixes, out, ["--format", file_format, *options])
        print(
            f"{own.tracks} x {own.seconds:g} s at {own.rate} Hz to {file_format}, medians of "
            f"{own.runs}, load {os.getloadavg()[0]:.1f}"
        )
        show(sides)


if __name__ == "__main__":
    main()
