"""What a bench found, as the one JSON document that is printed, kept and compared.

It can be sent to others: no name of a user, a host or a folder is in it.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from sep_launcher.doctor.redact import Redactor
from sep_launcher.machine import disk
from sep_launcher.machine.host import Gpu  # noqa: TC001 (a document is decoded by its types)
from sep_protocol import Benched, DeviceChosen, ModelLoaded  # noqa: TC001 (the same)
from sep_protocol.codec import FormError, decode
from sep_protocol.errors import PathError, UsageError
from sep_protocol.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from sep_protocol.errors import SepError

SCHEMA = 1
MOST_BYTES = 64 << 20  # of a document that is read
# A path in a sentence, up to its last part; with `~` for a home, as the redactor leaves it.
FOLDERS = re.compile(r"(?<![\w:/<>.~-])(?:[A-Za-z]:)?[/\\~](?:[^\s'\",;:]*[/\\])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The computer, without its name."""

    system: str  # with its version
    kernel: str
    processor: str
    processors: int  # logical ones, of the whole computer
    cores: float  # that may be used: affinity and quota counted
    memory: int  # bytes that may be used
    gpus: tuple[Gpu, ...]
    apple_gpu: bool
    python: str  # version, of the launcher
    inside: str  # of what it runs in: a container, Slurm, WSL; empty: nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why something was not measured."""

    code: int
    error: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """Whole commands of a runtime that is started for each: a file in, the stems' files out."""

    format: str
    seconds: float  # median
    real_time: float  # seconds of audio per second
    phases: dict[str, float]  # of the run that took the median time


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One combination: what was asked for, what was used, what was measured."""

    engine: str
    device: str
    model: str
    overlap: float | None = None  # None: the model's own
    precision: str = "auto"
    batch: int | None = None  # None: the runtime's choice
    code: str = ""  # digest of the runtime's code
    used: DeviceChosen | None = None
    loaded: ModelLoaded | None = None
    bench: Benched | None = None
    whole: tuple[Whole, ...] = ()
    warnings: tuple[str, ...] = ()
    error: Fault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """All of a bench."""

    schema: int = SCHEMA
    sep: str = __version__
    code: str  # digest of the runtime's code as the launcher has it
    date: str  # day, in UTC
    command: str
    exit_code: int
    error: Fault | None
    machine: Machine
    rows: tuple[Row, ...]
    seconds: float  # wall time of the whole command
    kind: str = field(default="bench")

    @property
    def measured(self) -> tuple[Row, ...]:
        """The rows that were measured."""
        return tuple(row for row in self.rows if row.bench)

    @property
    def missing(self) -> tuple[Row, ...]:
        """The rows that were not."""
        return tuple(row for row in self.rows if row.error)


def dumped(document: Document) -> dict[str, Any]:
    """Return the document as what JSON can hold."""
    return asdict(document)


def load(path: Path) -> Document:
    """Read a document; a folder stands for the `bench.json` in it.

    Raises PathError where there is none that can be read, UsageError where it is something else.
    """
    if disk.is_dir(path):
        path /= "bench.json"
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as fault:
        why = fault.strerror if isinstance(fault, OSError) else fault
        raise PathError(f"{path} cannot be read: {why}") from fault
    hint = "give what `sep bench --json` printed, or bench.json of `sep bench --report`"
    if len(data) > MOST_BYTES:
        raise UsageError(f"{path} is too large for a document of sep bench", hint=hint)
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as fault:
        raise UsageError(f"{path} is not JSON", hint=hint) from fault
    if not isinstance(raw, dict) or raw.get("kind") != "bench":
        raise UsageError(f"{path} is not a document of sep bench", hint=hint)
    if raw.get("schema") != SCHEMA:
        raise UsageError(
            f"{path} has form {raw.get('schema')}, this sep knows {SCHEMA}",
            hint="compare it with the sep that wrote it",
        )
    try:
        return decode(Document, raw)
    except FormError as fault:
        raise UsageError(f"{path} is not whole: {fault}", hint=hint) from fault


def fault_of(fault: SepError) -> Fault:
    """Return an error as it is written."""
    return Fault(
        code=int(fault.code), error=type(fault).__name__, message=fault.message, hint=fault.hint
    )


class Nameless:
    """Takes out of texts what says who and where somebody is."""

    def __init__(self) -> None:
        self._redactor = Redactor(strict=True)

    def text(self, text: str) -> str:
        """Return a sentence with the last part of every path, and no name."""
        return FOLDERS.sub("", self._redactor.text(text))

    def argument(self, text: str) -> str:
        """Return what was typed, files without their folders."""
        return self._redactor.text(re.sub(r"[^,=]*[/\\]", "", text))
