"""Draw the tables of `overlap.py` as SVG: SDR over overlap, and errors by position in the chunk.

python benchmarks/overlap_pictures.py docs
"""

from __future__ import annotations

import argparse
import csv
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STEMS = ("kick", "snare", "toms", "hihat", "cymbals")
WINDOWS = {
    "mean": "rectangular mean",
    "linear 0.1": "linear fades, a tenth",
    "triangle": "triangle",
    "hann": "Hann (sep)",
    "hann squared": "Hann squared",
    "tukey 0.1": "Tukey, fades of a tenth",
    "nearest": "nearest chunk",
}
COLOURS = ("#e15759", "#f28e2b", "#b6992d", "#4e79a7", "#76b7b2", "#59a14f", "#9c755f", "#8a8f98")
GREY = "#8a8f98"
RATE = 44100
SMOOTH = 25  # rows of the profile that a point of the whole chunk is the mean of: 0.25 s
NEAR = 0.4  # s at either end that are drawn row by row

Points = list[tuple[float, float]]


@dataclass(slots=True)
class Panel:
    """A plot with its axes: `across` and `up` give the range, the ticks and the title of each."""

    left: float
    title: str
    across: tuple[float, float, Sequence[float], str]
    up: tuple[float, float, Sequence[float], str]
    scale: Callable[[float], float] = float
    width: float = 300
    top: float = 40
    height: float = 240
    parts: list[str] = field(default_factory=list)

    def x(self, value: float) -> float:
        """Return where a value lies, in pixels."""
        low, high = self.scale(self.across[0]), self.scale(self.across[1])
        return self.left + (self.scale(value) - low) / (high - low) * self.width

    def y(self, value: float) -> float:
        """Return where a value lies, in pixels; beyond the range, on its edge."""
        low, high = self.up[:2]
        share = (min(max(value, low), high) - low) / (high - low)
        return self.top + (1 - share) * self.height

    def text(self, at: tuple[float, float], words: str, more: str = "") -> None:
        """Write words."""
        self.parts.append(f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" {more}>{words}</text>')

    def frame(self) -> None:
        """Draw the axes, their ticks and titles."""
        bottom, right = self.top + self.height, self.left + self.width
        middle = self.left + self.width / 2
        self.text((middle, self.top - 14), self.title, 'text-anchor="middle" font-weight="bold"')
        self.text((middle, bottom + 34), self.across[3], 'text-anchor="middle"')
        turned = f'text-anchor="middle" transform="rotate(-90 {self.left - 46} {self.top + 120})"'
        self.text((self.left - 46, self.top + 120), self.up[3], turned)
        for tick in self.across[2]:
            at = self.x(tick)
            self.line((at, self.top), (at, bottom))
            self.text((at, bottom + 16), f"{tick:g}", 'text-anchor="middle"')
        for tick in self.up[2]:
            at = self.y(tick)
            self.line((self.left, at), (right, at))
            self.text((self.left - 6, at + 4), f"{tick:g}", 'text-anchor="end"')

    def line(self, begin: tuple[float, float], end: tuple[float, float]) -> None:
        """Draw a faint line."""
        self.parts.append(
            f'<path d="M{begin[0]:.1f} {begin[1]:.1f}L{end[0]:.1f} {end[1]:.1f}" '
            f'stroke="{GREY}" stroke-opacity="0.3"/>'
        )

    def curve(self, points: Points, colour: str, width: float = 1.5, more: str = "") -> None:
        """Draw a curve."""
        path = "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in points)
        self.parts.append(
            f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="{width}" {more}/>'
        )

    def legend(self, names: Sequence[str], colours: Sequence[str]) -> None:
        """Name the colours on the right of the plot."""
        for row, (name, colour) in enumerate(zip(names, colours, strict=True)):
            where = (self.left + self.width + 10, self.top + 16 + 17 * row)
            self.text(where, name, f'fill="{colour}"')


def write(panels: Sequence[Panel], file: Path) -> None:
    """Write the panels as one picture."""
    last = panels[-1]
    width, height = last.left + last.width + 80, last.top + last.height + 44
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'font-family="sans-serif" font-size="12" fill="{GREY}">'
    )
    lines = [head, *(part for panel in panels for part in panel.parts), "</svg>"]
    file.write_text("\n".join(lines) + "\n")


def draw_overlap(rows: list[dict[str, str]], file: Path) -> None:
    """Draw gains over overlap 2 under Hann, by window and by stem, of the long clips' middle."""
    kept = [row for row in rows if row["cut"] == "steady"]
    ticks = (1, 1.25, 1.5, 2, 3, 4, 8)
    across = (1.0, 8.0, ticks, "overlap, which is the network's work")

    def points(window: str, column: str, base: float) -> Points:
        chosen = [row for row in kept if row["window"] == window]
        return sorted((float(row["overlap"]), float(row[column]) - base) for row in chosen)

    lines = {name: points(name, "gain", 0) for name in WINDOWS}
    left = Panel(
        64,
        "by window, mean of the stems",
        across,
        (*ends(list(lines.values()), 0.05), "dB beside Hann at overlap 2"),
        math.log2,
    )
    left.frame()
    for line, colour in zip(lines.values(), COLOURS, strict=False):
        left.curve(line, colour)
    left.legend(list(WINDOWS.values()), COLOURS[: len(WINDOWS)])
    base = next(row for row in kept if row["window"] == "hann" and float(row["overlap"]) == 2)
    stems = {stem: points("hann", stem, float(base[stem])) for stem in STEMS}
    right = Panel(
        578,
        "by stem, under Hann",
        across,
        (*ends(list(stems.values()), 0.05), "dB beside overlap 2"),
        math.log2,
    )
    right.frame()
    for line, colour in zip(stems.values(), COLOURS, strict=False):
        right.curve(line, colour)
    right.legend(STEMS, COLOURS[: len(STEMS)])
    write((left, right), file)


def ends(lines: list[Points], step: float) -> tuple[float, float, list[float]]:
    """Return a range that holds all lines, and ticks, of which there are at most nine."""
    low, high = (pick(y for line in lines for _, y in line) for pick in (min, max))
    while (high - low) / step > 7:
        step *= 2
    first, last = math.floor(low / step), math.ceil(high / step)
    return first * step, last * step, [round(i * step, 6) for i in range(first, last + 1)]


def draw_edges(rows: list[dict[str, str]], chunk: int, file: Path) -> None:
    """Draw the errors by position: the whole chunk, its first and its last moments."""
    seconds = chunk / RATE
    named = (*STEMS, "mean")
    lines = {
        name: [(float(row["position"]) * seconds, float(row[name])) for row in rows]
        for name in named
    }
    wide = min(SMOOTH, len(rows))
    smooth = {
        name: [middle_of(line[i : i + wide]) for i in range(len(line) - wide + 1)]
        for name, line in lines.items()
    }
    begin = {name: [p for p in line if p[0] <= NEAR] for name, line in lines.items()}
    end = {
        name: [(x - seconds, y) for x, y in line if x >= seconds - NEAR]
        for name, line in lines.items()
    }
    panels = []
    for left, width, title, across, shown in (
        (64, 300, "the whole chunk", (0, seconds, range(6), "s"), smooth),
        (430, 180, "its beginning", (0, NEAR, (0, 0.1, 0.2, 0.3, 0.4), "s"), begin),
        (676, 180, "its end", (-NEAR, 0, (-0.4, -0.3, -0.2, -0.1, 0), "s to the end"), end),
    ):
        up = ends(list(shown.values()), 0.25)
        panel = Panel(left, title, across, (*up, "error, dB above the middle's"), width=width)
        panel.frame()
        for name, colour in zip(named, (*COLOURS[: len(STEMS)], GREY), strict=True):
            panel.curve(shown[name], colour, 2.5 if name == "mean" else 1.2)
        panels.append(panel)
    panels[-1].legend(named, (*COLOURS[: len(STEMS)], GREY))
    write(panels, file)


def middle_of(points: Points) -> tuple[float, float]:
    """Return the middle of points."""
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def read(file: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def main() -> None:
    """Write overlap.svg and overlap-edges.svg beside the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    rows = read(folder / "overlap.csv")
    chunk = next(int(row["chunk"]) for row in rows if row["cut"] == "steady")
    draw_overlap(rows, folder / "overlap.svg")
    draw_edges(read(folder / "overlap-edges.csv"), chunk, folder / "overlap-edges.svg")


if __name__ == "__main__":
    main()
