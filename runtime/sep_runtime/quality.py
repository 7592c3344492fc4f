"""How close the stems of a loaded model are to those of the plain network on the CPU in fp32."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

import sep_models
from sep_runtime import api
from sep_runtime import device as devices

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sep_protocol import Job
    from sep_runtime.model import Model

SILENT = 1e-6  # mean square: a stem at -60 dBFS is not compared
MOST = 200.0  # dB; equal to the bit


def plain(job: Job) -> Model:
    """Return the Job's model on the CPU in fp32, one chunk at once, to compare another with."""
    cpu = devices.choose("cpu")
    wish = api.Wish(models=(job.model,), overlap=job.overlap, batch=1, precision="fp32")
    model = api.load_on(cpu, wish)
    model.loaded.runner.plain = True
    return model


def snr(model: Model, reference: Model) -> float | None:
    """Return the signal-to-noise ratio in dB of the worst stem of the golden clip that plays.

    None where no stem plays.
    """
    clip = sep_models.golden_clip()
    given, true = model.separate(clip), reference.separate(clip)
    found = [
        _ratio(true[stem], given[stem])
        for stem in reference.stems
        if float(np.square(true[stem], dtype=np.float64).mean()) >= SILENT
    ]
    return min(found, default=None)


def _ratio(true: NDArray[np.float32], given: NDArray[np.float32]) -> float:
    power = float(np.square(true, dtype=np.float64).sum())
    noise = float(np.square(true.astype(np.float64) - given).sum())
    if math.isnan(noise):
        return -MOST
    return min(MOST, 10 * math.log10(power / noise)) if noise else MOST
