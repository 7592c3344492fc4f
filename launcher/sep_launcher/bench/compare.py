"""Two documents side by side: what both measured, and what only one did. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sep_launcher.bench import table

if TYPE_CHECKING:
    from sep_launcher.bench.document import Document, Row
    from sep_launcher.bench.table import Table

    Key = tuple[str, ...]


def key(row: Row) -> Key:
    """Return what makes two rows alike: what was asked for, and the overlap that it came to."""
    return (
        row.engine,
        row.device.partition(":")[0],
        row.model,
        row.precision,
        table.overlap(row),
        str(row.batch or "auto"),
    )


def alike(a: Document, b: Document) -> list[tuple[Row, Row]]:
    """Return the rows that both have measured, in the order of the first."""
    others = {key(row): row for row in b.measured}
    return [(row, others[key(row)]) for row in a.measured if key(row) in others]


def heading(a: Document, b: Document) -> list[str]:
    """Return which machine and which sep each is of, and what differs in how they measured."""
    lines = [f"{name}: {_source(each)}" for name, each in (("A", a), ("B", b))]
    differences = [
        f"{what} {' and '.join(sorted(told))}"
        for what, told in (
            ("seconds of audio", _told(a, b, "audio_seconds")),
            ("runs", _told(a, b, "runs")),
            ("threads", _told(a, b, "threads")),
        )
        if len(told) > 1
    ]
    if table.machine(a.machine) != table.machine(b.machine):
        lines.append("the machines differ: " + ", ".join(_different(a, b)))
    if differences:
        lines.append("they differ in " + "; ".join(differences))
    return lines


def _source(found: Document) -> str:
    torch = sorted({row.used.torch for row in found.measured if row.used})
    told = f"; torch {', '.join(torch)}" if torch else ""
    return f"{table.short(found.machine)}; sep {found.sep}, code {found.code}{told}; {found.date}"


def _different(a: Document, b: Document) -> list[str]:
    ours, theirs = table.machine(a.machine), table.machine(b.machine)
    names = dict.fromkeys(name for name, _ in (*ours, *theirs))
    return [
        name
        for name in names
        if [told for it, told in ours if it == name] != [told for it, told in theirs if it == name]
    ]


def _told(a: Document, b: Document, name: str) -> set[str]:
    rows = [row for pair in alike(a, b) for row in pair]
    return {f"{getattr(table.bench(row), name):g}" for row in rows}


def side_by_side(a: Document, b: Document) -> Table:
    """Return the rows that are alike with their ratio; nothing where none are."""
    pairs = alike(a, b)
    shown = [row for row, _ in pairs]
    cells = [
        (
            table.full_label(one, shown),
            _used(one, other),
            table.factor(_speed(one)),
            table.factor(_speed(other)),
            f"{_speed(other) / _speed(one):.2f}",
            f"{_decibels(one)} / {_decibels(other)}",
        )
        for one, other in pairs
    ]
    heads = ("both", "precision", "A: x real time", "B: x real time", "B / A", "dB A / B")
    return [heads, *cells] if cells else []


def _speed(row: Row) -> float:
    return table.bench(row).measured[0].real_time


def _decibels(row: Row) -> str:
    return table.decibels(table.bench(row).snr)


def _used(one: Row, other: Row) -> str:
    used = [row.loaded.precision if row.loaded else "-" for row in (one, other)]
    return used[0] if used[0] == used[1] else " / ".join(used)


def alone(a: Document, b: Document) -> Table:
    """Return what only one of them has measured; nothing where that is nothing."""
    both = {key(row) for row, _ in alike(a, b)}
    cells = [
        (
            name,
            table.label(row),
            row.model,
            row.precision,
            table.overlap(row),
            str(row.batch or "auto"),
            table.factor(_speed(row)),
        )
        for name, document in (("A", a), ("B", b))
        for row in document.measured
        if key(row) not in both
    ]
    heads = ("only", "where", "model", "precision", "overlap", "batch", "x real time")
    return [heads, *cells] if cells else []
