"""A bench as a page in Markdown, beside its picture and its document. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sep_launcher.bench import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sep_launcher.bench.document import Document, Row
    from sep_launcher.bench.table import Table

MEANING = (
    "`dB`, where it was asked for, compares the worst stem of a short drum clip with that of "
    "plain fp32 on the CPU: more than 60 is rounding, less than 40 is an error. `memory` is the "
    "most that the runtime's process took. Decoding and the network run beside each other, so "
    "their seconds overlap."
)


def page(document: Document, *, picture: str, trace: str = "") -> str:
    """Return the page; `picture` and `trace` are the names of files beside it, if there are any."""
    rows = document.measured
    parts = [
        "# sep bench",
        f"sep {document.sep}, code {document.code or 'not known'}, {document.date}.",
        _listed([*table.machine(document.machine), *_torch(rows)]),
        f"```text\n{document.command}\n```",
        *(f"{each}:" for each in table.heading(document)),
        *([f"![times real time]({picture})"] if rows else []),
    ]
    if rows:
        parts += [_table(table.summary(rows)), MEANING, _table(table.phases(rows))]
    parts += [_table(found) for found in (table.whole(rows), table.baselines(rows)) if found]
    if told := table.ways(rows):
        parts += ["Fast ways in use:", "\n".join(f"- {_plain(each)}" for each in told)]
    for row in rows:
        parts += _explained(row, trace)
    if lost := table.missing(document):
        parts += ["Not measured:", "\n".join(f"- {_plain(a)}: {_plain(b)}" for a, b in lost)]
    parts.append("To put it beside another: `sep bench --compare bench.json OTHER.json`.")
    return "\n\n".join(parts) + "\n"


def _explained(row: Row, trace: str) -> list[str]:
    found = table.bench(row)
    parts = []
    if found.tuning:
        parts += [f"What the fast ways chose on {table.label(row)}:", _table(table.tuning(row))]
    if found.profile:
        parts.append(f"Where a pass on {table.label(row)} spends its time:")
        parts += [_table(table.groups(found.profile)), _table(table.operators(found.profile))]
        if trace:
            parts.append(f"Every call is in `{trace}`, for ui.perfetto.dev or chrome://tracing.")
    return parts


def _torch(rows: Sequence[Row]) -> list[tuple[str, str]]:
    told = {f"{row.used.torch} ({row.engine})": None for row in rows if row.used}
    return [("PyTorch", ", ".join(told))] if told else []


def _listed(pairs: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"- {name}: {_plain(told)}" for name, told in pairs)


def _table(rows: Table) -> str:
    head, *cells = rows
    lines = [head, tuple("---" for _ in head), *cells]
    return "\n".join(f"| {' | '.join(map(_plain, line))} |" for line in lines)


def _plain(text: str) -> str:
    """Return a text that Markdown shows as it is."""
    for sign in "\\`*<>|[]":
        text = text.replace(sign, f"\\{sign}")
    return text
