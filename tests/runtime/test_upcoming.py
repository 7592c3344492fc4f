"""A track begins while the one before it ends: nobody sees it, whatever goes wrong."""

import threading
import time

import pytest
import soundfile

from sep_protocol import Job, Model, Output, Phase, Progress, Track, TrackDone, TrackFailed
from sep_runtime.separate import separate
from sep_runtime.upcoming import Upcoming


@pytest.fixture
def clips(tmp_path, noise):
    paths = [tmp_path / f"{i}.wav" for i in range(4)]
    for i, path in enumerate(paths):
        soundfile.write(path, noise(2, 40000, seed=i).T, 48000)
    return paths


@pytest.fixture
def begun(monkeypatch):
    """Indices of the tracks that began early."""
    found, real = [], Upcoming.prepare

    def prepare(self, index):
        found.append(index)
        real(self, index)

    monkeypatch.setattr(Upcoming, "prepare", prepare)
    return found


def run(tiny, out, paths, on=lambda _: None, **output):
    events = []

    def emit(event):
        events.append(event)
        on(event)

    job = Job(
        id="00000042",
        tracks=tuple(Track(audio=str(path), out=str(out / path.stem)) for path in paths),
        model=Model(name="tiny", checkpoint=str(tiny[0]), settings=str(tiny[1])),
        output=Output(**output),
        device="cpu",
    )
    try:
        separate(job, emit, begun=time.perf_counter())
    finally:
        ours = ("next track", "digest", "resample", "write ")
        assert not [each for each in threading.enumerate() if each.name.startswith(ours)]
    return events


def stems(out):
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*.wav")}


def test_stems_are_the_same_and_events_in_order(tiny, clips, tmp_path, begun):
    events = run(tiny, tmp_path / "together", clips)
    assert begun == [1, 2, 3]
    tracks = [each.track for each in events if getattr(each, "track", None) is not None]
    assert tracks == sorted(tracks)
    for index in range(4):
        own = [each for each in events if getattr(each, "track", None) == index]
        assert isinstance(own[0], Phase)
        assert isinstance(own[1], Progress)
        assert own[1].done == 0
        assert isinstance(own[-1], TrackDone)
    for path in clips:
        run(tiny, tmp_path / "alone", [path])
    assert stems(tmp_path / "together") == stems(tmp_path / "alone")


def test_what_is_wrong_is_told_at_its_turn(tiny, clips, tmp_path, begun):
    whole = clips[1].read_bytes()
    clips[1].write_bytes(b"no audio")
    clips[2].write_bytes(whole[: len(whole) // 2])
    events = run(tiny, tmp_path / "out", clips)
    assert begun == [1]
    failed = [each.track for each in events if isinstance(each, TrackFailed)]
    assert failed == [1, 2]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["0", "3"]


def test_what_is_done_does_not_begin_again(tiny, clips, tmp_path, begun):
    run(tiny, tmp_path / "out", clips[1:2])
    events = run(tiny, tmp_path / "out", clips[:3], resume=True)
    assert begun == []
    assert [each.resumed for each in events if isinstance(each, TrackDone)] == [False, True, False]


def test_what_came_into_its_place_meanwhile_is_not_replaced(tiny, clips, tmp_path, begun):
    mine = tmp_path / "out" / "1" / "kick.wav"

    def on(event):
        if isinstance(event, TrackDone) and not event.track:
            mine.parent.mkdir()
            mine.write_text("mine")

    events = run(tiny, tmp_path / "out", clips[:3], on)
    assert begun == [1]
    (fault,) = [each for each in events if isinstance(each, TrackFailed)]
    assert fault.track == 1
    assert "exists already" in fault.message
    assert mine.read_text() == "mine"


def test_an_interruption_leaves_nothing_of_it(tiny, clips, tmp_path, begun):
    def on(event):
        if isinstance(event, TrackDone):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tiny, tmp_path / "out", clips, on)
    assert begun == [1]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["0"]
