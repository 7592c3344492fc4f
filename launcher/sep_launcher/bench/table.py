"""A bench's rows as tables: the same cells for the terminal and for the page. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sep_launcher.bench.document import Document, Machine, Row
    from sep_launcher.machine.host import Gpu
    from sep_protocol import Benched, Profiled

    Cells = tuple[str, ...]
    Table = list[Cells]  # the first are the heads

EXACT = 200.0  # dB; equal to the bit
NONE = "-"
TOP = 15  # operators that are shown
LONGEST = 36  # columns of an operator's name
FUNCTOR = re.compile(r"\w*Functor_?\w*")
# Around the name of what is computed, and behind it.
WRAPPERS = re.compile(
    r"\b(?:void |aten::|at::native::|cudnn::\w+::)|\(anonymous namespace\)::"
    r"|\b\w*elementwise_kernel<[\d, ]+|\bgpu_kernel_impl\w*<"
)
TYPES = re.compile(r"[<(].*")
PHASES = ("import", "load", "first", "decode", "network", "encode")


def machine(found: Machine) -> list[tuple[str, str]]:
    """Return what the computer is, in pairs."""
    quota = "" if found.cores == found.processors else f", {found.cores:g} of them may be used"
    rows = [
        ("system", f"{found.system} ({found.kernel})"),
        ("processor", f"{found.processor}, {found.processors} logical{quota}"),
        ("memory", size(found.memory)),
    ]
    rows += [("GPU", gpu(each)) for each in found.gpus]
    rows += [("GPU", "Apple's, by Metal")] if found.apple_gpu else []
    rows += [("inside", found.inside)] if found.inside else []
    return [*rows, ("Python", found.python)]


def gpu(found: Gpu) -> str:
    """Return a GPU in words."""
    return f"{found.name}, {size(found.memory)}, driver {found.driver}"


def short(found: Machine) -> str:
    """Return the computer in one line."""
    gpus = [each.name for each in found.gpus]
    return ", ".join([f"{found.processor} ({found.cores:g} cores)", *gpus, found.system])


def heading(document: Document) -> list[str]:
    """Return what holds for all rows that were measured."""
    rows = document.measured
    if not rows:
        return []
    facts = sorted({each.model for each in rows})
    facts += [f"{each:g} s of audio" for each in sorted({bench(r).audio_seconds for r in rows})]
    runs = max(bench(each).runs for each in rows)
    if len({overlap(each) for each in rows}) == 1:
        facts.append(f"overlap {overlap(rows[0])}")
    facts.append(f"medians of {runs}" if runs > 1 else "one run")
    return [", ".join(facts)]


def label(row: Row) -> str:
    """Return where a row was measured."""
    return " ".join(each for each in (row.engine, row.device) if each != "auto") or "auto"


def full_label(row: Row, rows: Sequence[Row]) -> str:
    """Return a row in words: where, and whatever else tells it from the others."""
    parts = [label(row)]
    for name, told in (
        ("model", row.model),
        ("precision", row.precision),
        ("overlap", f"overlap {_overlap(row)}"),
        ("batch", f"batch {row.batch or 'auto'}"),
    ):
        if len({getattr(each, name) for each in rows}) > 1:
            parts.append(told)
    return ", ".join(parts)


def _overlap(row: Row) -> str:
    asked = "own" if row.overlap is None else f"{row.overlap:g}"
    return overlap(row) if row.bench else asked


def bench(row: Row) -> Benched:
    """Return what was measured of a row that was."""
    if row.bench is None:
        raise ValueError("this row was not measured")
    return row.bench


def overlap(row: Row) -> str:
    """Return the overlap that was used: 1.25 where the hop is four fifths of the chunk."""
    return f"{bench(row).chunk / bench(row).hop:.3g}"


def summary(rows: Sequence[Row]) -> Table:
    """Return the figures that people ask for first."""
    columns: list[tuple[str, Callable[[Row], str]]] = [
        ("where", label),
        ("model", lambda row: row.model),
        ("overlap", overlap),
        ("x real time", lambda row: factor(bench(row).measured[0].real_time)),
        ("seconds", lambda row: seconds(bench(row).measured[0].seconds)),
        ("chunks", lambda row: str(bench(row).measured[0].chunks)),
        ("precision", lambda row: row.loaded.precision if row.loaded else NONE),
        ("batch", lambda row: str(row.loaded.batch) if row.loaded else NONE),
        ("dB", lambda row: decibels(bench(row).snr)),
        ("memory", lambda row: size(bench(row).peak_memory)),
        ("GPU memory", lambda row: size(bench(row).gpu_memory)),
    ]
    told = [(head, [cell(row) for row in rows]) for head, cell in columns]
    shown = [(head, cells) for head, cells in told if _says(head, cells)]
    return _turned(shown)


def _says(head: str, cells: Sequence[str]) -> bool:
    """Say whether a column tells something: the heading has what is the same for all."""
    if head in ("model", "overlap"):
        return len(set(cells)) > 1
    return set(cells) != {NONE}


def _turned(columns: Sequence[tuple[str, Sequence[str]]]) -> Table:
    heads = tuple(head for head, _ in columns)
    return [heads, *zip(*(cells for _, cells in columns), strict=True)]


def phases(rows: Sequence[Row]) -> Table:
    """Return the seconds of each kind of work."""
    known = [name for name in PHASES if any(name in bench(row).phases for row in rows)]
    return [
        ("seconds of", *known),
        *(
            (
                full_label(row, rows),
                *(_seconds_of(bench(row).phases, name) for name in known),
            )
            for row in rows
        ),
    ]


def whole(rows: Sequence[Row]) -> Table:
    """Return the times of whole commands; nothing where none was measured."""
    cells = [
        (
            full_label(row, rows),
            each.format,
            factor(each.real_time),
            seconds(each.seconds),
            *(_seconds_of(each.phases, name) for name in ("import", "load", "network", "encode")),
        )
        for row in rows
        for each in row.whole
    ]
    heads = ("whole command", "to", "x real time", "seconds", "import", "load", "network", "encode")
    return [heads, *cells] if cells else []


def baselines(rows: Sequence[Row]) -> Table:
    """Return the schemes of other tools beside ours; nothing where none was measured."""
    cells = [
        (
            full_label(row, rows),
            each.scheme,
            factor(each.real_time),
            seconds(each.seconds),
            str(each.chunks),
            f"{each.ratio:.2f}",
        )
        for row in rows
        for each in bench(row).measured
        if len(bench(row).measured) > 1
    ]
    heads = ("scheme on", "scheme", "x real time", "seconds", "chunks", "time / sep's")
    return [heads, *cells] if cells else []


def ways(rows: Sequence[Row]) -> list[str]:
    """Return which fast ways each row used."""
    return [
        f"{full_label(row, rows)}: {', '.join(row.loaded.ways)}"
        for row in rows
        if row.loaded and row.loaded.ways
    ]


def missing(document: Document) -> list[tuple[str, str]]:
    """Return what was not measured, and why."""
    return [
        (full_label(row, document.rows), row.error.message + _hint(row.error.hint))
        for row in document.missing
        if row.error
    ]


def _hint(hint: str) -> str:
    return f" ({hint})" if hint else ""


def tuning(row: Row) -> Table:
    """Return what the fast ways chose for each shape."""
    return [
        ("operator", "shape", "way", "plain ms", "ms", "times", "error"),
        *(
            (
                each.operator,
                each.shape,
                each.way,
                f"{each.plain_ms:.2f}",
                f"{each.ms:.2f}",
                f"{each.plain_ms / each.ms:.2f}" if each.ms else NONE,
                f"{each.error:.1e}",
            )
            for each in bench(row).tuning
        ),
    ]


def groups(found: Profiled) -> Table:
    """Return the kinds of operators."""
    whose = "the processor's" if found.side == "cpu" else "the GPU's"
    return [
        (f"{whose} time", "%", "ms"),
        *((each.group, percent(each.share), millis(each.seconds)) for each in found.groups),
        ("whole pass", percent(1), millis(found.seconds)),
    ]


def operators(found: Profiled) -> Table:
    """Return the operators that take most."""
    what = "operator" if found.side == "cpu" else "kernel"
    return [
        (what, "is of", "calls", "%", "ms"),
        *(
            (
                name(each.name),
                each.group,
                str(each.calls),
                percent(each.share),
                millis(each.seconds),
            )
            for each in found.operators[:TOP]
        ),
    ]


def name(operator: str) -> str:
    """Return an operator's or a kernel's name without its types, and not longer than a column."""
    if functors := FUNCTOR.findall(operator):  # what an elementwise kernel computes
        told = str(functors[-1])
    else:
        told = TYPES.sub("", WRAPPERS.sub("", operator)).strip() or operator
    return told if len(told) <= LONGEST else f"{told[: LONGEST - 3]}..."


def seconds(value: float) -> str:
    """Return seconds with three digits that count."""
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _seconds_of(found: dict[str, float], phase: str) -> str:
    return seconds(found[phase]) if phase in found else NONE


def factor(value: float) -> str:
    """Return a factor, three digits of it."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 (as many digits)


def decibels(value: float | None) -> str:
    """Return a ratio in dB; equal to the bit is `exact`."""
    if value is None:
        return NONE
    return "exact" if value >= EXACT else f"{value:.0f}"


def size(count: int) -> str:
    """Return bytes in MiB or GiB; 0 is not known."""
    if not count:
        return NONE
    mebibytes = count / (1 << 20)
    return f"{mebibytes:.0f} MiB" if mebibytes < 1000 else f"{mebibytes / 1024:.1f} GiB"  # noqa: PLR2004


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:.1f}"


def millis(value: float) -> str:
    """Return seconds as milliseconds."""
    return f"{1000 * value:.1f}"
