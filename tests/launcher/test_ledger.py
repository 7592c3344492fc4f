"""What a run says of itself, and what the next one learns of it."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from sep_launcher.library import ledger
from sep_launcher.library.shelf import Folder
from sep_launcher.planning import names
from sep_protocol import Job, Model, Track, TrackDone, TrackFailed
from sep_protocol.errors import InterruptedJob, PathError

TRACKS = {name: Track(audio=f"/music/{name}.wav", out=f"/out/{name}") for name in "abcd"}


def job(names="abcd", identity="same"):
    tracks = tuple(TRACKS[name] for name in names)
    return Job(id="0a0b0c0d", tracks=tracks, model=Model(name="m"), identity=identity)


def done(track):
    return TrackDone(
        track=track,
        out="/out",
        stems={},
        frames=44100,
        sample_rate=44100,
        chunk=1,
        hop=1,
        chunks=1,
        seconds=1.0,
    )


def poisoned(track):
    return TrackFailed(track=track, error=ledger.QUARANTINED, message="it died at it 3 times")


@pytest.fixture
def shelf(tmp_path):
    return Folder(tmp_path / names.NOTES)


def read(shelf):
    (state,) = ledger.states(shelf)
    return state


def test_the_next_run_knows_what_is_quarantined(shelf):
    first = ledger.begin(shelf, job(), {})
    first.note(poisoned(1), None)
    first.note(done(0), None)
    first.close(1)
    assert [each.mix for each in read(shelf).bad] == ["/music/b.wav"]
    second = ledger.begin(shelf, job(), {0: done(0)})
    assert list(second.known()) == [0]  # of its own tracks, which are b, c and d
    assert "3 times" in second.known()[0].message
    assert (read(shelf).tracks, read(shelf).done, read(shelf).before) == (4, 1, 1)
    second.close(1)
    assert not ledger.begin(shelf, job(), {}, retry=True).known()


def test_a_run_over_other_tracks_forgets_nothing(shelf):
    first = ledger.begin(shelf, job(), {})
    first.note(poisoned(1), None)
    first.close(1)
    ledger.begin(shelf, job("cd"), {}).close(0)
    assert read(shelf).bad == ()
    third = ledger.begin(shelf, job(), {})
    assert list(third.known()) == [1]


def test_a_run_that_dies_at_once_forgets_nothing(shelf):
    first = ledger.begin(shelf, job(), {})
    first.note(poisoned(1), None)
    first.close(1)
    ledger.begin(shelf, job(), {})  # and never says a word
    assert list(ledger.begin(shelf, job(), {}, take_over=True).known()) == [1]


def test_other_work_is_not_in_quarantine(shelf):
    first = ledger.begin(shelf, job(), {})
    first.note(poisoned(1), None)
    first.close(1)
    other = ledger.begin(shelf, job(identity="other"), {})
    assert not other.known()
    other.close(0)
    assert list(ledger.begin(shelf, job(), {}).known()) == [1]


def test_tracks_that_failed_before_are_not_done(shelf):
    made = ledger.begin(shelf, job(), {0: done(0), 2: replace(poisoned(2), error="TrackError")})
    state = read(shelf)
    assert (state.tracks, state.done, len(state.bad), state.left) == (4, 1, 1, 2)
    made.note(done(0), None)
    made.note(done(1), None)
    made.close(1)
    assert (read(shelf).done, read(shelf).left, read(shelf).before) == (3, 0, 1)


def test_one_at_a_time_and_whoever_takes_over(shelf):
    first = ledger.begin(shelf, job(), {})
    with pytest.raises(PathError, match=f"process {os.getpid()}"):
        ledger.begin(shelf, job(), {})
    second = ledger.begin(shelf, job(), {}, take_over=True)
    first._written = -100.0
    with pytest.raises(InterruptedJob, match="taken over"):
        first.tick()
    first.close(130)  # writes nothing any more
    assert len(shelf.names()) == 1
    second.tick()
    assert read(shelf).ended is None


def test_shards_do_not_know_of_each_other(shelf):
    ledger.begin(shelf, job("ab"), {}, shard="0/2")
    ledger.begin(shelf, job("cd"), {}, shard="1/2")
    assert sorted(each.shard for each in ledger.states(shelf)) == ["0/2", "1/2"]
    with pytest.raises(PathError, match="another sep works"):
        ledger.begin(shelf, job("ab"), {}, shard="0/2")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 99}'])
def test_what_cannot_be_read_stands_in_nobodys_way(shelf, text):
    shelf.path.mkdir()
    (shelf.path / "run.3.json").write_text(text)
    ledger.begin(shelf, job(), {})
    assert shelf.names() == ["run.4.json"]


def test_a_process_that_is_dead_is_in_nobodys_way(shelf):
    ledger.begin(shelf, job(), {})
    (name,) = shelf.names()
    found = json.loads(shelf.read(name))
    shelf.write(name, json.dumps({**found, "born": found["born"] - 100}))
    ledger.begin(shelf, job(), {})


@pytest.mark.parametrize("writes", [True, False])
def test_another_machines_run_is_watched(shelf, writes):
    ledger.begin(shelf, job(), {})
    (name,) = shelf.names()
    state = {**json.loads(shelf.read(name)), "host": "elsewhere"}
    shelf.write(name, json.dumps(state))
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if writes:
            shelf.write(name, json.dumps({**state, "updated": state["updated"] + len(slept)}))

    if writes:
        with pytest.raises(PathError, match="on elsewhere"):
            ledger.begin(shelf, job(), {}, sleep=sleep)
        assert len(slept) == 1
    else:
        ledger.begin(shelf, job(), {}, sleep=sleep)
        assert sum(slept) == ledger.WATCH_SECONDS


def fill(path):
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(1 << 12)):
            pass


def test_a_disk_that_is_full_leaves_nothing_half(small):
    shelf = Folder(small / names.NOTES)
    fill(small / "filler")
    with pytest.raises(PathError, match="cannot be written"):
        ledger.begin(shelf, job(), {})
    assert shelf.names() == []
    assert not Path(shelf.path, "run.1.json").exists()
