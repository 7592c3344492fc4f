"""The model that a process keeps between its Jobs. Imports nothing heavy: it is there first."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sep_protocol import Job
    from sep_runtime.model import Model


@dataclass(slots=True)
class Kept:
    """The model of the last Job, and what that Job asked for."""

    model: Model | None = None
    wish: object = None

    def take(self, job: Job) -> Model | None:
        """Return the model if it is what this Job asks for; let go of it if it is not."""
        if self.model is None or self.wish != wish_of(job):
            self.model = None
        return self.model

    def keep(self, job: Job, model: Model) -> None:
        """Keep the model of a Job."""
        self.model, self.wish = model, wish_of(job)


def wish_of(job: Job) -> tuple[object, ...]:
    """Return all of a Job that decides how its models are loaded, the files as they are now."""
    return (
        (job.model, job.beside, job.from_mix, job.weights, job.shifts, job.output.intermediate),
        (job.device, job.fallback, job.overlap, job.batch, job.precision),
        [_facts(each.checkpoint) for each in job.models],
    )


def _facts(path: str | None) -> object:
    try:
        found = os.stat(path) if path else None  # noqa: PTH116 (a text)
    except OSError:
        return None  # whoever reads it tells
    return found and (found.st_ino, found.st_size, found.st_mtime_ns)
