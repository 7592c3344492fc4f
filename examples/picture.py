"""Draw a mix above its stems: `python examples/picture.py MIX FOLDER-OF-ITS-STEMS PICTURE.svg`.

Every row is the loudest sample of each of its columns, at one scale for all.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import soundfile

COLUMNS, WIDTH, ROW, LEFT = 360, 720, 44, 76  # the last three in pixels
COLOURS = {
    "mix": "#8a8f98",
    "kick": "#d9534f",
    "snare": "#e8a33d",
    "toms": "#4caf7a",
    "hihat": "#3d9be0",
    "cymbals": "#9b6fd0",
}


def peaks(path: Path) -> list[float]:
    """Return the peak of each column."""
    samples, _ = soundfile.read(path, always_2d=True)
    parts = np.array_split(np.abs(samples).max(axis=1), COLUMNS)
    return [float(part.max()) for part in parts]


def row(name: str, number: int, heights: list[float], most: float) -> str:
    """Return one row: its name and its wave."""
    middle, step = number * ROW + ROW / 2, (WIDTH - LEFT) / COLUMNS
    bars = "".join(
        f"M{LEFT + i * step:.1f} {middle - half:.1f}v{2 * half:.1f}"
        for i, height in enumerate(heights)
        for half in [max(0.3, height / most * (ROW / 2 - 3))]
    )
    colour, left = COLOURS[name], LEFT - 10
    return (
        f'<text x="{left}" y="{middle + 5:.1f}" text-anchor="end" fill="{colour}">{name}</text>'
        f'<path d="{bars}" stroke="{colour}" stroke-width="1.4" fill="none"/>'
    )


def main() -> None:
    """Write the picture."""
    mix, folder, picture = map(Path, sys.argv[1:])
    waves = {"mix": peaks(mix)}
    waves |= {name: peaks(folder / f"{name}.wav") for name in COLOURS if name != "mix"}
    most = max(map(max, waves.values()))
    rows = "\n".join(row(name, i, wave, most) for i, (name, wave) in enumerate(waves.items()))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {ROW * len(waves)}" '
        'font-family="sans-serif" font-size="15">'
    )
    picture.write_text(f"{head}\n{rows}\n</svg>\n", encoding="utf-8")


if __name__ == "__main__":
    main()
