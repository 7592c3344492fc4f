"""How far a run is, by a clock of the test's own: estimates, and lines where no terminal is."""

import pytest

from sep_launcher.show import layout
from sep_launcher.show.line import Line
from sep_launcher.show.progress import Meter, Pace, bar
from sep_protocol import Phase, Progress, Track, TrackFailed

RATE = 1000


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def tracks(tmp_path):
    """Songs of given sizes, as (name, bytes)."""

    def make(*songs):
        for name, size in songs:
            (tmp_path / name).write_bytes(b"x" * size)
        return [Track(audio=str(tmp_path / name), out=f"/out/{name}") for name, _ in songs]

    return make


def at(track, done, total):
    """Progress in seconds of audio."""
    return Progress(track=track, done=done * RATE, total=total * RATE, sample_rate=RATE)


def test_time_left_is_by_the_durations_known_so_far(tracks, clock):
    pace = Pace(tracks(("a.wav", 100), ("b.wav", 300), ("c.mp3", 5)), clock)
    assert (pace.speed, pace.left_here(), pace.left()) == (0, None, None)
    pace.begin(0)
    pace.take(at(0, 0, 40))
    assert pace.left() is None  # nothing is known of the speed
    clock.now += 5
    pace.take(at(0, 20, 40))
    assert pace.speed == 4
    assert pace.left_here() == 5
    # b is as long as its size says, of a's kind; of c nothing is known but that it is a song.
    assert pace.left() == 5 + (120 + 40) / 4
    clock.now += 5
    pace.take(at(0, 40, 40))
    pace.end(0, counts=True)
    pace.begin(1)
    pace.take(at(1, 0, 100))
    clock.now += 40
    pace.take(at(1, 50, 100))
    assert pace.speed == 90 / 50
    assert pace.left() == pytest.approx((50 + 70) / 1.8)


def test_what_was_done_before_or_failed_says_nothing_of_the_speed(tracks, clock):
    pace = Pace(tracks(("a.wav", 1), ("b.wav", 1), ("c.wav", 1)), clock)
    for track in (0, 1):
        pace.begin(track)
        clock.now += 100
        pace.end(track, counts=False)
    assert pace.speed == 0
    pace.begin(2)
    clock.now += 1
    pace.take(at(2, 3, 9))
    assert (pace.speed, pace.left_here(), pace.left()) == (3, 2, 2)


def test_a_length_that_nobody_knows_is_not_guessed(tracks, clock):
    pace = Pace(tracks(("a.wav", 1), ("b.wav", 1)), clock)
    pace.begin(0)
    clock.now += 1
    pace.take(at(0, 3, 0))
    assert (pace.speed, pace.left_here(), pace.left()) == (3, None, None)


@pytest.fixture
def meter(tracks, clock):
    """A meter where no terminal is, and what it said."""

    def make(*songs):
        told = []
        return Meter(tracks(*songs), Line(hidden=True), told.append, clock), told

    return make


def test_a_log_has_a_line_now_and_then(meter, clock):
    show, told = meter(("long.wav", 1))
    show.phase(Phase(name="import"))
    show.phase(Phase(name="separate", track=0))
    for second in range(1000):
        clock.now += 1
        show.progress(at(0, second * 2, 2000))
    assert told[:2] == [
        "     long.wav: 10%, 15 min left, 2.0x real time",
        "     long.wav: 20%, 13 min left, 2.0x real time",
    ]
    assert len(told) == 9


def test_a_log_is_not_filled_by_what_is_fast_and_not_empty_where_all_is_slow(meter, clock):
    show, told = meter(("a.wav", 1), ("b.wav", 1))
    show.phase(Phase(name="separate", track=0))
    for tenth in range(200):
        clock.now += 0.1
        show.progress(at(0, tenth, 200))
    assert told == []
    for _ in range(120):
        clock.now += 10
        show.progress(at(0, 199, 200000))
    assert len(told) == 4
    assert all("1/2 a.wav: 0%," in line and "left for all" in line for line in told)


def test_a_track_that_is_told_is_a_line_itself(meter, clock):
    show, told = meter(("a.wav", 1), ("b.wav", 1))
    show.phase(Phase(name="separate", track=0))
    clock.now += 29
    show.end(TrackFailed(track=0, error="AudioError", message=""))
    show.phase(Phase(name="separate", track=1))
    clock.now += 29
    show.progress(at(1, 5, 10))
    assert told == []
    clock.now += 1
    show.progress(at(1, 6, 10))
    assert told == ["     2/2 b.wav: 60%, 20 s left for all, 20 s for this one, 0.2x real time"]


def test_a_bench_says_what_it_measures(meter, clock):
    show, told = meter()
    for number in range(1, 10):
        show.phase(Phase(name="bench", detail=f"uvr, run {number} of 9"))
        clock.now += 2
    assert told == ["     uvr, run 4 of 9", "     uvr, run 7 of 9"]


@pytest.mark.parametrize("width", range(10, 90))
@pytest.mark.parametrize("share", [None, 0.0, 0.356, 1.0])
def test_a_bar_fits(width, share):
    facts = ["about 2 h 10 min for all", "12 min left", "10.5x real time"]
    drawn = bar("17/20 曲曲曲曲曲曲曲曲曲曲曲曲曲曲曲.wav", share, facts, width)
    assert layout.cells(drawn) <= width
    if share is not None and width >= 60:
        assert f"{share:.0%}" in drawn
        assert facts[0] in drawn


@pytest.mark.parametrize(
    ("seconds", "exact", "rough"),
    [
        (0.04, "0.0 s", "0 s"),
        (9.94, "9.9 s", "10 s"),
        (9.96, "10 s", "10 s"),
        (59.4, "59 s", "59 s"),
        (59.6, "1 min 0 s", "60 s"),
        (125, "2 min 5 s", "2 min"),
        (3599.7, "1 h 0 min", "60 min"),
        (7810, "2 h 10 min", "2 h 10 min"),
    ],
)
def test_times_in_words(seconds, exact, rough):
    assert (layout.span(seconds), layout.rough(seconds)) == (exact, rough)


def test_lines_are_parted_between_words_below_their_text():
    line = "Native environment  error: the torch of /opt/a-b/python is broken [torch-broken]"
    assert layout.wrapped(line, 0) == layout.wrapped(line, 200) == [line]
    parts = layout.wrapped(line, 50)
    assert [each.strip() for each in parts[1:]] == [
        "/opt/a-b/python is broken",
        "[torch-broken]",
    ]
    assert all(each.startswith(" " * 20) for each in parts[1:])
    assert " ".join(each.strip() for each in parts) == line


def test_tables_keep_every_word_and_what_is_to_be_typed():
    rows = [("model", "stems"), ("mdx23c-mini 曲", "kick snare toms hihat cymbals"), ("x", "")]
    assert layout.table(rows) == [
        "model           stems",
        "mdx23c-mini 曲  kick snare toms hihat cymbals",
        "x",
    ]
    narrow = layout.table(rows, 34)
    assert narrow[1:3] == ["mdx23c-mini 曲  kick snare toms", "                hihat cymbals"]
    assert layout.table([], 10) == []
