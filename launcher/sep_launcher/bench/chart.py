"""A bench as a picture: a bar of times real time for every row, as SVG that any browser shows."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from sep_launcher.bench.table import bench, factor, full_label, label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sep_launcher.bench.document import Row

WIDTH, ROW, THIN, BAR, TOP = 760, 44, 18, 20, 40  # pixels
LETTER = 7.2  # pixels of a letter, about
MARGIN, ROOM = 14, 120  # at the sides, and for the figure behind a bar
# Greys and colours that can be read on white and on black; who can choose gets better ones.
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #6f7680 }
.title { font-weight: 600 }
.figure { font-weight: 600 }
.cpu { fill: #5b8def } .cuda { fill: #4caf7a } .mps { fill: #b07ce8 } .other { fill: #9aa0a8 }
.line { stroke: #9aa0a8; stroke-width: 1 }
@media (prefers-color-scheme: dark) { text { fill: #c9d1d9 } }
"""


def chart(rows: Sequence[Row]) -> str:
    """Return the picture of rows that were measured; the schemes of other tools are thin bars."""
    bars = [bar for row in rows for bar in _bars(row, rows)]
    left = MARGIN + min(330, 10 + LETTER * max(len(text) for text, *_ in bars))
    most = max(speed for _, speed, *_ in bars)
    step = (WIDTH - left - ROOM) / most
    parts, top = [], float(TOP)
    for text, speed, kind, height in bars:
        middle = top + height / 2
        thick, long = (BAR if height == ROW else BAR / 2), max(speed * step, 1)
        line = f'y="{middle + 4.5:.1f}"'
        parts.append(
            f'<text x="{left - 8:.1f}" {line} text-anchor="end">{escape(text)}</text>'
            f'<rect class="{kind}" x="{left:.1f}" y="{middle - thick / 2:.1f}" '
            f'width="{long:.1f}" height="{thick:g}" rx="2"/>'
            f'<text class="figure" x="{left + long + 7:.1f}" {line}>{factor(speed)} x</text>'
        )
        top += height
    whole = top + MARGIN
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {whole:g}" '
        f'width="{WIDTH}" height="{whole:g}" role="img" aria-label="{_title(rows)}">\n'
        f"<style>{STYLE}</style>\n"
        f'<text class="title" x="{MARGIN}" y="24">{_title(rows)}</text>\n'
        f'<path class="line" d="M{left:.1f} {TOP}V{top:.1f}"/>\n{body}\n</svg>\n'
    )


def _bars(row: Row, rows: Sequence[Row]) -> list[tuple[str, float, str, int]]:
    """Return text, speed, class and height of a row's bars."""
    kind = row.device.partition(":")[0]
    kind = kind if kind in ("cpu", "cuda", "mps") else "other"
    ours, *others = bench(row).measured
    used = f", {row.loaded.precision}" if row.loaded and row.precision == "auto" else ""
    alone = full_label(row, rows) if len(rows) > 1 else label(row)
    return [
        (f"{alone}{used}", ours.real_time, kind, ROW),
        *((each.scheme, each.real_time, "other", THIN) for each in others),
    ]


def _title(rows: Sequence[Row]) -> str:
    names = ", ".join(sorted({row.model for row in rows}))
    return escape(f"{names}: seconds of audio separated per second", {'"': "&quot;"})
