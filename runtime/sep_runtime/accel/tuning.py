"""Which way is the fastest for a shape, measured once per machine and kept in the user's cache."""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch

from sep_protocol.codec import decode
from sep_runtime.accel import caches, hardware

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor

PLAIN = "plain"
FILE = "tuning.json"
ERROR = 1e-4  # most that a way may differ, relative to the largest value of the plain operator
RUNS = 2  # a measurement is the best of so many
CLEAR = 0.8  # a way that needs less than this share of the next one's time is timed once
MOST_ROWS = 4096  # in the file

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a measurement says."""

    way: str  # the fastest that proved itself
    plain_ms: float
    ms: float  # of the way
    error: float  # of the way, relative to the largest value; 0 for the plain operator


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Found):
    """The same for one operator and shape on one machine."""

    machine: str  # processor or GPU, torch, threads
    operator: str
    shape: str


class Tuning:
    """The rows that are known, those of this process marked; threads may share it."""

    def __init__(self, folder: Callable[[], Path | None]) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._rows: dict[tuple[str, str, str], Row] | None = None  # until one is asked for
        self._found: dict[tuple[str, str, str], Row] = {}  # in this process
        self._used: dict[tuple[str, str, str], Row] = {}

    def way(
        self,
        operator: str,
        shape: str,
        device: torch.device,
        ways: Callable[[], Mapping[str, Callable[[], Tensor]]],
    ) -> str:
        """Return the name of the way to take; `ways` gives them ready to run, the plain one first.

        It is called where the shape is new here, and what it gives works on fresh random input.
        """
        return self.row(operator, shape, device, lambda: _measured(device, ways(), operator)).way

    def row(
        self, operator: str, shape: str, device: torch.device, measure: Callable[[], Found]
    ) -> Row:
        """Return what is known of a shape; `measure` finds it out where nothing is."""
        where = machine(device)
        key = (where, operator, shape)
        row = self._used.get(key)
        if row is None:
            with self._lock:
                if self._rows is None:
                    self._rows = _read(self._path())
                row = self._rows.get(key)
                if row is None:
                    found = measure()
                    row = Row(machine=where, operator=operator, shape=shape, **asdict(found))
                    self._rows[key] = self._found[key] = row
                self._used[key] = row
        return row

    def used(self) -> tuple[Row, ...]:
        """Return the rows that this process went by."""
        return tuple(self._used.values())

    def keep(self) -> None:
        """Write what is new into the file; where that cannot be, the next one measures again."""
        with self._lock:
            path = self._path()
            if path is None or not self._found:
                return
            rows = _read(path) | self._found
            text = json.dumps([asdict(row) for row in list(rows.values())[-MOST_ROWS:]], indent=1)
            if caches.write(path, f"{text}\n".encode()):
                self._found.clear()

    def _path(self) -> Path | None:
        folder = self._folder()
        return None if folder is None else folder / FILE


def machine(device: torch.device) -> str:
    """Return all that must stay the same for a row to hold."""
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    return f"{hardware.name_of(device)}, torch {torch.__version__}{threads}"


def _measured(
    device: torch.device, ways: Mapping[str, Callable[[], Tensor]], operator: str
) -> Found:
    """Prove and time every way; the plain one, the first, is the measure of both."""
    true = ways[PLAIN]()
    scale = float(true.abs().max()) or 1.0
    errors = {PLAIN: 0.0}
    for name, run in ways.items():
        if name == PLAIN:
            continue
        try:
            error = float((run() - true).abs().max()) / scale
        except (RuntimeError, AttributeError, TypeError) as fault:  # its means are missing
            log.info("%s cannot be done by %s: %s", operator, name, fault)
            continue
        if error <= ERROR:  # also false for what is no number
            errors[name] = error
        else:
            log.warning("%s by %s is wrong by %.1e: not used", operator, name, error)
    if len(errors) == 1:
        return Found(way=PLAIN, plain_ms=0.0, ms=0.0, error=0.0)
    times = {name: best_of(ways[name], device, 1) for name in errors}
    if min(times.values()) > CLEAR * sorted(times.values())[1]:  # else once was enough
        times = {name: min(each, best_of(ways[name], device, 1)) for name, each in times.items()}
    best = min(times, key=lambda name: times[name])
    return Found(way=best, plain_ms=times[PLAIN], ms=times[best], error=errors[best])


def best_of(run: Callable[[], object], device: torch.device, runs: int = RUNS) -> float:
    """Return the milliseconds of the fastest of some runs."""
    best = float("inf")
    for _ in range(runs):
        synchronize(device)
        begun = time.perf_counter()
        run()
        synchronize(device)
        best = min(best, time.perf_counter() - begun)
    return round(1e3 * best, 3)


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _read(path: Path | None) -> dict[tuple[str, str, str], Row]:
    """Return the rows in the file; none where it is missing, damaged or another sep's."""
    if path is None:
        return {}
    try:
        rows = [decode(Row, each) for each in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, RecursionError):
        return {}
    return {(row.machine, row.operator, row.shape): row for row in rows}


TABLE = Tuning(caches.folder)
