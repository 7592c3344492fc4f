"""The shapes of stems: what is drawn is what is in the files, however the blocks come."""

import base64
import time

import numpy as np
import pytest
import soundfile

from sep_protocol import Job, Model, Output, Peaks, Track, TrackDone
from sep_runtime.peaks import Shapes
from sep_runtime.separate import separate


def joined(events, stem):
    """Return the pairs [n, 2] of a stem; each event begins where the one before it ended."""
    every = [each for each in events if isinstance(each, Peaks) and each.stem == stem]
    found = [np.frombuffer(base64.b64decode(each.pairs), np.int8).reshape(-1, 2) for each in every]
    counts = np.cumsum([0, *map(len, found)])[:-1]
    assert [each.first for each in every] == counts.tolist()
    return np.concatenate(found)


def expected(samples, rate, per_second):
    """Return them of whole stems [C, T], by the definition."""
    frames, pairs = samples.shape[-1], []
    while (begin := len(pairs) * rate // per_second) < frames:
        part = samples[:, begin : (len(pairs) + 1) * rate // per_second]
        pairs.append((np.floor(part.min() * 127), np.ceil(part.max() * 127)))
    return np.clip(pairs, -127, 127)


@pytest.mark.parametrize("rate", [44100, 48000, 11025, 8000, 44099])
@pytest.mark.parametrize("blocks", [(1, 7, 440, 441, 442), (5000,), (3,)])
def test_any_blocks_give_the_same(rate, blocks):
    rng = np.random.default_rng(3)
    stems = rng.normal(0, 0.4, (2, 2, 13001)).astype(np.float32)
    events = []
    shapes = Shapes(events.append, 0, {"a": 0, "b": 1}, sample_rate=rate, per_second=100)
    at, turn = 0, 0
    while at < stems.shape[-1]:
        size = blocks[turn % len(blocks)]
        shapes.take(stems[..., at : at + size])
        at, turn = at + size, turn + 1
    shapes.end()
    for row, stem in enumerate("ab"):
        assert (joined(events, stem) == expected(stems[row], rate, 100)).all()


def test_nothing_has_no_shape():
    events = []
    Shapes(events.append, 0, {"a": 0}, sample_rate=44100, per_second=100).end()
    assert events == []


def test_a_job_that_asks_gets_those_of_its_files(tmp_path, noise):
    soundfile.write(tmp_path / "mix.wav", noise(2, 30000).T, 44100)
    job = Job(
        id="00000001",
        tracks=(Track(audio=str(tmp_path / "mix.wav"), out=str(tmp_path / "out")),),
        model=Model(name="mdx23c-mini"),
        output=Output(stems=("kick", "snare"), bit_depth="float", residual=True),
        device="cpu",
        peaks=100,
    )
    events = []
    separate(job, events.append, begun=time.perf_counter())
    (done,) = [each for each in events if isinstance(each, TrackDone)]
    assert set(done.stems) == {"kick", "snare", "residual"}
    for stem, path in done.stems.items():
        samples = soundfile.read(path, dtype="float32")[0].T
        assert (joined(events, stem) == expected(samples, 44100, 100)).all()
    assert events.index(done) > max(n for n, e in enumerate(events) if isinstance(e, Peaks))
