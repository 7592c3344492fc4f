"""The clip that proves an installation is the beginning of the example."""

from pathlib import Path

import numpy as np
import soundfile

import sep_models

GROOVE = Path(__file__).parent.parent.parent / "examples" / "groove.flac"


def test_golden_clip_is_the_example():
    clip, rate = soundfile.read(sep_models.golden_clip(), dtype="int16")
    groove, _ = soundfile.read(GROOVE, dtype="int16")
    assert (rate, len(clip)) == (44100, 4 * 44100)
    assert np.array_equal(clip, groove[: len(clip)])
