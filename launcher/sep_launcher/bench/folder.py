"""Where a report goes: a folder in which nothing of anybody's is replaced."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from sep_launcher.bench import chart, page
from sep_launcher.bench.document import dumped
from sep_launcher.machine import disk
from sep_protocol.errors import PathError

if TYPE_CHECKING:
    from sep_launcher.bench.document import Document

PAGE, DOCUMENT, PICTURE, TRACE = "bench.md", "bench.json", "bench.svg", "trace.json"
HINT = "name a folder that is not there yet"


class Folder:
    """The folder of a report, made before anything is measured, so that it can be written."""

    def __init__(self, path: Path) -> None:
        """Make it; raise PathError where that cannot be, or has something of these names."""
        self.path = Path.cwd() / path
        for name in (PAGE, DOCUMENT, PICTURE, TRACE):
            check_free(self.path / name, HINT)
        self._made = [each for each in (self.path, *self.path.parents) if not disk.exists(each)]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / f".sep-{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as fault:
            self.leave()
            raise PathError(f"{path} cannot be written: {fault.strerror}", hint=HINT) from fault

    @property
    def trace(self) -> Path:
        """Where a trace goes."""
        return self.path / TRACE

    def leave(self) -> None:
        """Take the folders away that were made and are empty."""
        for each in self._made:
            with contextlib.suppress(OSError):
                each.rmdir()

    def write(self, document: Document) -> list[Path]:
        """Write page, picture and document; return the files, the page first.

        Raises PathError where that cannot be; no file is then half written.
        """
        trace = TRACE if disk.exists(self.trace) else ""
        texts = {DOCUMENT: json.dumps(dumped(document), indent=1) + "\n"}
        if document.measured:
            texts[PICTURE] = chart.chart(document.measured)
        texts[PAGE] = page.page(document, picture=PICTURE, trace=trace)
        for name, text in texts.items():
            _written(self.path / name, text)
        return [self.path / name for name in reversed(texts)] + ([self.trace] if trace else [])


def check_free(path: Path, hint: str) -> None:
    """Raise PathError where something is there already."""
    if disk.exists(path):
        raise PathError(f"{path} is there already", hint=hint)


def _written(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.new")
    try:
        try:
            new.write_text(text, encoding="utf-8")
            check_free(path, HINT)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
    except OSError as fault:
        raise PathError(f"{path} cannot be written: {fault.strerror}") from fault
