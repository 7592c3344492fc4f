"""Staging and commits, around an engine that makes stems in an instant."""

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sep_launcher.engines import staging
from sep_launcher.engines.staged import Staged
from sep_launcher.machine import storage
from sep_launcher.machine.host import Host, Native
from sep_launcher.planning import files, finished, remote
from sep_launcher.planning.choice import only
from sep_launcher.planning.plan import plan
from sep_launcher.planning.request import Request
from sep_launcher.planning.route import choose
from sep_protocol import (
    Done,
    Failed,
    Hello,
    Model,
    ModelLoaded,
    Output,
    Phase,
    Progress,
    TrackDone,
    TrackFailed,
    Warned,
)
from sep_protocol.errors import PathError, RuntimeFailedError

STEMS = ("kick", "snare")


class Inner:
    """An engine whose stems are the mix, doubled. `during(path)` is called while it is at one."""

    def __init__(self, during=lambda path: None, size=None):
        self.jobs = []
        self.calls = []
        self._during = during
        self._size = size

    def start(self, plan):
        job = plan.job
        self.jobs.append(job)
        yield Hello(job=job.id)
        yield Phase(name="load")
        yield ModelLoaded(model="m", precision="fp32", batch=1)
        for index, track in enumerate(job.tracks):
            mix = Path(track.audio).read_bytes()
            yield Phase(name="separate", track=index)
            self._during(Path(track.audio))
            yield Progress(track=index, done=1, total=2, sample_rate=44100)
            yield Warned(message=f"{track.audio} is odd", track=index, path=track.audio)
            if mix == b"bad":
                yield TrackFailed(track=index, error="AudioError", message=f"{track.audio} is bad")
                yield Done(done=0, failed=1, seconds=0.0)
                return
            if mix == b"crash":
                raise RuntimeFailedError("the runtime was ended by signal 11")
            if mix == b"model":
                yield Failed(code=16, error="ModelError", message="no model")
                return
            out = Path(track.out)
            out.mkdir(parents=True, exist_ok=True)
            names = {stem: f"{track.file_of(stem)}.wav" for stem in STEMS}
            for stem, name in names.items():
                made = stem.encode() + mix * 2 if self._size is None else b"x" * self._size
                (out / name).write_bytes(made)
                yield Progress(track=index, done=2, total=2, sample_rate=44100)
            report = {
                "schema": 1,
                "sep": "0",
                "identity": plan.job.identity,
                "mix": {"path": track.shown, "sha256": ""},
                "settings": {"stem_name": track.stem_name, "chunk": 1, "hop": 1},
                "stems": {
                    stem: {"file": name, "bytes": (out / name).stat().st_size}
                    for stem, name in names.items()
                },
                "frames": 1,
                "sample_rate": 44100,
            }
            (out / track.report).write_text(json.dumps(report))
            yield TrackDone(
                track=index,
                out=str(out),
                stems={stem: str(out / name) for stem, name in names.items()},
                frames=1,
                sample_rate=44100,
                chunk=1,
                hop=1,
                chunks=1,
                seconds=0.1,
            )
        yield Done(done=1, failed=0, seconds=0.1, phases={"network": 1.0})

    def __getattr__(self, name):
        return lambda: self.calls.append(name)


@pytest.fixture
def planned(home):
    """A plan for what is named."""

    def make(*named, out, name="{track}/{stem}", model="m", **output):
        request = Request(
            files=named, out=out, name=name, output=Output(stems=STEMS, format="wav", **output)
        )
        host = Host(system="linux", cores=1.0, native=Native(python="python", source="setup"))
        found = files.find(named).files
        chosen = only(Model(name=model))
        made = plan(request, host, choose(host, request.wanted), found=found, chosen=chosen)
        return replace(made, stems=STEMS, job=replace(made.job, identity=f"that of {model}"))

    return make


@pytest.fixture
def run(tmp_path):
    """Do a plan as a session does; returns the events."""

    def do(plan, inner=None, limit=10**6, **options):
        place = tmp_path / "stage"
        over = remote.before(plan)
        left = finished.left(plan, over)
        with staging.held(place, limit) as room:
            engine = Staged(inner or Inner(), room, **options)
            try:
                found = list(engine.start(finished.part(plan, left))) if left else []
            finally:
                engine.stop()
        assert list(place.iterdir()) == []
        return [*over.values(), *(finished.renumbered(each, left) for each in found)]

    return do


def of(kind, events):
    return [each for each in events if isinstance(each, kind)]


def test_many_jobs_look_like_one(bucket, planned, run):
    for name in "abc":
        bucket.put(f"in/{name}.wav", name.encode() * 10)
    plan = planned(f"{bucket.url}/in/", out=f"{bucket.url}/out")
    inner = Inner()
    events = run(plan, inner)
    first = next(each for each in events if not isinstance(each, Phase))
    assert isinstance(first, Hello)
    assert first.job == plan.job.id
    assert isinstance(events[-1], Done)
    assert (events[-1].done, events[-1].phases) == (3, {"network": 3.0})
    assert [len(of(kind, events)) for kind in (Hello, ModelLoaded, Done)] == [1, 1, 1]
    done = {each.track: each for each in of(TrackDone, events)}
    assert sorted(done) == [0, 1, 2]
    assert done[1].out == f"{bucket.url}/out/b"
    assert done[1].stems["kick"] == f"{bucket.url}/out/b/kick.wav"
    assert bucket.get("out/b/kick.wav") == b"kick" + b"b" * 20
    assert bucket.keys("out/b/") == [f"out/b/{n}" for n in ("kick.wav", "sep.json", "snare.wav")]
    assert {each.track for each in of(Progress, events)} == {0, 1, 2}
    warned = of(Warned, events)[2]
    assert warned.message == f"{bucket.url}/in/c.wav is odd"
    assert warned.path == f"{bucket.url}/in/c.wav"
    # The runtime sees paths alone.
    for job in inner.jobs:
        assert "://" not in job.tracks[0].audio + job.tracks[0].out
    report = bucket.json("out/b/sep.json")
    assert report["mix"]["path"] == f"{bucket.url}/in/b.wav"
    assert report["mix"]["etag"] == storage.stat(f"{bucket.url}/in/b.wav").etag
    assert report["mix"]["size"] == 10


def test_only_one_side_may_be_in_a_store(shelf, planned, run, tmp_path):
    shelf.put("in/a.wav", b"a")
    (tmp_path / "b.wav").write_bytes(b"b")
    here = planned(f"{shelf.url}/in/a.wav", out=tmp_path / "out")
    (done,) = of(TrackDone, run(here))
    assert done.out == str(tmp_path / "out" / "a")
    assert (tmp_path / "out" / "a" / "kick.wav").read_bytes() == b"kickaa"
    again = replace(here, job=replace(here.job, output=replace(here.job.output, resume=True)))
    inner = Inner()
    (done,) = of(TrackDone, run(again, inner))
    assert done.resumed
    assert inner.jobs == []
    (tmp_path / "out" / "a" / "sep.json").write_text("{}")  # of an older sep: the runtime looks
    run(again, inner)
    assert inner.jobs[0].output.resume
    run(planned(str(tmp_path / "b.wav"), out=f"{shelf.url}/out"))
    assert shelf.get("out/b/kick.wav") == b"kickbb"


def test_resume_does_what_is_missing_and_no_more(bucket, planned, run):
    for name in "abcd":
        bucket.put(f"in/{name}.wav", name.encode())
    where = (f"{bucket.url}/in/",)
    run(planned(*where, out=f"{bucket.url}/out"))
    bucket.put("in/b.wav", b"B")  # another song under that name
    bucket.delete("out/c/snare.wav")
    bucket.delete("out/d/sep.json")
    bucket.put("out/d/.sep-sep.json", b"{}")  # as an attempt leaves it that dies here
    inner = Inner()
    events = run(planned(*where, out=f"{bucket.url}/out", resume=True), inner)
    done = {each.track: each.resumed for each in of(TrackDone, events)}
    assert done == {0: True, 2: False, 3: False}
    (failed,) = of(TrackFailed, events)
    assert failed.track == 1
    assert "another song" in failed.message
    assert len(inner.jobs) == 2
    assert bucket.keys("out/d/") == [f"out/d/{n}" for n in ("kick.wav", "sep.json", "snare.wav")]
    with pytest.raises(PathError, match="exist already"):
        remote.before(planned(*where, out=f"{bucket.url}/out"))
    events = run(planned(*where, out=f"{bucket.url}/out", model="other", resume=True), Inner())
    assert len(of(TrackFailed, events)) == 4


def test_what_is_not_ours_is_not_replaced(shelf, planned, run):
    shelf.put("in/a.wav", b"a")
    shelf.put("out/a/kick.wav", b"of the user")
    where = f"{shelf.url}/in/a.wav"
    with pytest.raises(PathError, match=r"kick\.wav exists already"):
        remote.before(planned(where, out=f"{shelf.url}/out"))
    run(planned(where, out=f"{shelf.url}/out", overwrite=True))
    assert shelf.get("out/a/kick.wav") == b"kickaa"
    with pytest.raises(PathError, match="would go into the folder of"):
        remote.before(planned(where, out=shelf.url, name="in/{track} {stem}"))


def test_overwrite_takes_the_old_stems_away(shelf, planned, run):
    shelf.put("in/a.wav", b"a")
    where = f"{shelf.url}/in/a.wav"
    run(planned(where, out=f"{shelf.url}/out", name="{track}/old {stem}"))
    shelf.put("out/a/cover.jpg", b"of the user")
    run(planned(where, out=f"{shelf.url}/out", overwrite=True))
    assert [each.removeprefix("out/a/") for each in shelf.keys("out/a/")] == [
        "cover.jpg",
        "kick.wav",
        "sep.json",
        "snare.wav",
    ]


def test_tracks_may_share_a_folder(shelf, planned, run):
    for name in "ab":
        shelf.put(f"in/{name}.wav", name.encode())
    where = (f"{shelf.url}/in/",)
    options = {"out": f"{shelf.url}/out", "name": "{track} {stem}"}
    run(planned(*where, **options))
    names = [f"out/{track} {part}" for track in "ab" for part in ("kick.wav", "sep.json")]
    assert set(names) < set(shelf.keys("out/"))
    shelf.delete("out/b kick.wav")
    inner = Inner()
    events = run(planned(*where, resume=True, **options), inner)
    assert [each.resumed for each in of(TrackDone, events)] == [True, False]


def test_the_report_decides_between_two(shelf, planned, run):
    """Whoever stores it first has made the track; another settles for it, or says what happened."""
    shelf.put("in/a.wav", b"a")
    where = f"{shelf.url}/in/a.wav"
    first = planned(where, out=f"{shelf.url}/out")
    for model, same in (("m", True), ("other", False)):
        second = planned(where, out=f"{shelf.url}/out", model=model, overwrite=False)
        rival = threading.Event()

        def overtaken(path, rival=rival):
            if not rival.is_set():
                rival.set()
                run_apart(first)

        for key in shelf.keys("out/"):
            shelf.delete(key)
        (outcome,) = of((TrackDone, TrackFailed), run(second, Inner(overtaken)))
        assert isinstance(outcome, TrackDone if same else TrackFailed)
        if same:
            assert outcome.resumed
        else:
            assert "came to be there while its stems were made" in outcome.message


def run_apart(plan):
    with staging.held(None, 10**6) as room:
        list(Staged(Inner(), room).start(plan))


def test_two_that_commit_at_once(faulty, proxy, planned, run):
    """Both have stored their stems before either stores its report: the store takes one."""
    faulty.put("in/a.wav", b"a")
    where = f"{faulty.url}/in/a.wav"
    both = threading.Barrier(2, timeout=30)

    def fault(method, path, body):
        if method == "PUT" and path.endswith("/sep.json") and ".sep-" not in path:
            both.wait()

    proxy.fault = fault
    outcomes = []

    def attempt(plan):
        with staging.held(None, 10**6) as room:
            events = list(Staged(Inner(), room).start(plan))
        outcomes.extend(of((TrackDone, TrackFailed), events))

    plans = [planned(where, out=f"{faulty.url}/out", model=model) for model in ("m", "other")]
    threads = [threading.Thread(target=attempt, args=(plan,)) for plan in plans]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert {type(each) for each in outcomes} == {TrackDone, TrackFailed}


def test_an_attempt_that_is_over_stores_nothing(shelf, planned, run):
    shelf.put("in/a.wav", b"a")
    plan = planned(f"{shelf.url}/in/a.wav", out=f"{shelf.url}/out")
    (failed,) = of(TrackFailed, run(plan, may_commit=lambda _, index: index != 0))
    assert "another worker" in failed.message
    assert shelf.keys("out/") == []
    answers = iter([True, True, False])
    run(plan, may_commit=lambda *_: next(answers))
    assert not any(each.endswith("/sep.json") for each in shelf.keys("out/"))


def test_bad_tracks_are_passed_over(faulty, proxy, planned, run):
    for name, body in (
        ("a", b"a"),
        ("b", b"bad"),
        ("c", b"c"),
        ("d", b"d"),
        ("e", b"e"),
        ("f", b""),
    ):
        faulty.put(f"in/{name}.wav", body)
    plan = planned(f"{faulty.url}/in/", out=f"{faulty.url}/out")

    def fault(method, path, body):
        if (method, path) == ("GET", f"/{faulty.name}/in/c.wav"):
            return ("status", 503, "SlowDown")
        if (method, path) == ("PUT", f"/{faulty.name}/out/d/snare.wav"):
            return ("status", 500, "InternalError")
        return None

    proxy.fault = fault
    events = run(plan)
    assert [each.track for each in of(TrackDone, events)] == [0, 4, 5]
    told = {each.track: each.message for each in of(TrackFailed, events)}
    assert told[1] == f"{faulty.url}/in/b.wav is bad"
    assert told[2].startswith(f"{faulty.url}/in/c.wav could not be fetched: the store says 503")
    assert told[3].startswith(f"{faulty.url}/out/d/snare.wav could not be stored")
    assert (events[-1].done, events[-1].failed) == (3, 3)
    assert f"out/d/{'sep.json'}" not in faulty.keys("out/d/")


@pytest.mark.parametrize("end", [b"crash", b"model"])
def test_what_was_made_before_the_end_is_stored(shelf, planned, tmp_path, end):
    for name, body in (("a", b"a"), ("b", end), ("c", b"c")):
        shelf.put(f"in/{name}.wav", body)
    plan = planned(f"{shelf.url}/in/", out=f"{shelf.url}/out")
    events = []
    with staging.held(tmp_path, 10**6) as room:
        engine = Staged(Inner(), room)
        try:
            events.extend(engine.start(plan))
        except RuntimeFailedError:
            assert end == b"crash"
        else:
            assert isinstance(events[-1], Failed)
        engine.stop()
    assert "out/a/sep.json" in shelf.keys("out/")
    assert [each for each in shelf.keys("out/") if "/c/" in each] == []
    assert not any(each.name.startswith(".sep-") for each in tmp_path.iterdir())


def test_the_next_mix_comes_while_one_is_made(shelf, planned, run, tmp_path):
    for name in "ab":
        shelf.put(f"in/{name}.wav", name.encode())
    plan = planned(f"{shelf.url}/in/", out=f"{shelf.url}/out")
    seen = []

    def during(path):
        end = time.monotonic() + 20
        while path.name == "a.wav" and time.monotonic() < end:
            if list((tmp_path / "stage").rglob("b.wav")):
                seen.append(path.name)
                return
            time.sleep(0.01)

    run(plan, Inner(during))
    assert seen == ["a.wav"]


def test_no_more_is_staged_than_may_be(shelf, planned, run, tmp_path):
    """A track needs 4 kB with its stems: two of them may be here at a time."""
    for name in "abcd":
        shelf.put(f"in/{name}.wav", name.encode() * 1000)
    shelf.put("in/large.wav", b"x" * 9001)
    plan = planned(f"{shelf.url}/in/", out=f"{shelf.url}/out")
    most, over = [0], threading.Event()

    def watch():
        while not over.is_set():
            most[0] = max(most[0], staging.size(tmp_path / "stage"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        events = run(plan, Inner(size=1500), limit=9000)
    finally:
        over.set()
        watcher.join()
    assert len(of(TrackDone, events)) == 4
    (failed,) = of(TrackFailed, events)
    assert failed.message.endswith("and 0 MB may be staged")
    assert 0 < most[0] <= 9000


def test_stems_that_are_larger_than_expected_wait_for_those_that_are_stored(shelf, planned, run):
    for name in "abcd":
        shelf.put(f"in/{name}.wav", name.encode() * 1000)
    plan = planned(f"{shelf.url}/in/", out=f"{shelf.url}/out")
    assert len(of(TrackDone, run(plan, Inner(size=5000), limit=14000))) == 4


def test_stems_that_outgrow_the_limit_end_their_track_alone(shelf, planned, run):
    shelf.put("in/a.wav", b"a")
    shelf.put("in/b.wav", b"bad")
    plan = planned(f"{shelf.url}/in/", out=f"{shelf.url}/out")
    inner = Inner(size=5000)
    events = run(plan, inner, limit=8000)
    told = {each.track: each.message for each in of(TrackFailed, events)}
    assert told[0] == "its stems need more room than may be staged"
    assert told[1].endswith("b.wav is bad")
    assert inner.calls == ["pause", "go_on", "stop", "stop"]  # for the track, and at the end


def test_a_stop_leaves_nothing(faulty, proxy, planned, tmp_path):
    """Closed while one track is made, one is being stored and one is being fetched."""
    for name in "abc":
        faulty.put(f"in/{name}.wav", name.encode())
    plan = planned(f"{faulty.url}/in/", out=f"{faulty.url}/out")
    hold = threading.Event()

    def fault(method, path, body):
        slow = path.endswith(("/in/c.wav", "/out/a/kick.wav")) and method in ("GET", "PUT")
        return ("wait", hold) if slow else None

    proxy.fault = fault
    with staging.held(tmp_path, 10**6) as room:
        engine = Staged(Inner(), room)
        heard = engine.start(plan)
        for event in heard:
            if isinstance(event, Progress) and event.track == 1:
                break
        heard.close()
        threading.Timer(0.2, hold.set).start()
        engine.stop()
        assert room._free == room.limit
        assert [each.name for each in room.root.iterdir()] == ["lock"]
    assert not any(each.name.startswith(".sep-") for each in tmp_path.iterdir())
    assert not any(each.endswith("/sep.json") for each in faulty.keys("out/"))


def test_room_is_given_in_turn():
    room = staging.Staging(Path(), 10)
    never = threading.Event()
    assert room.take(8, never) == 8
    got = []

    def want(amount):
        got.append(room.take(amount, never))

    large = threading.Thread(target=want, args=(9,))
    large.start()
    while not room._waiting:
        time.sleep(0.01)
    small = threading.Thread(target=want, args=(1,))
    small.start()
    time.sleep(0.1)
    assert got == []  # the small one would fit, and is behind the large one
    room.give(8)
    large.join()
    small.join()
    assert got == [9, 1]


def test_what_the_dead_left_is_swept(tmp_path):
    with staging.held(tmp_path, 10) as living:
        dead = tmp_path / ".sep-stage-01234567-abcdefgh"
        dead.mkdir()
        (dead / "lock").touch()
        (dead / "mix").mkdir()
        (dead / "mix" / "a.wav").touch()
        (tmp_path / ".sep-stage-of-the-user").mkdir()
        with staging.held(tmp_path, 10):
            assert not dead.exists()
            assert living.root.exists()
        assert (tmp_path / ".sep-stage-of-the-user").exists()
    with (
        pytest.raises(PathError, match="cannot be used for staging"),
        staging.held(Path("/proc/none"), None),
    ):
        pass


def test_stems_are_expected_rather_too_large():
    two = ("kick", "snare")
    assert staging.expected(1000, ".wav", two, "wav") == 3000
    assert staging.expected(1000, ".FLAC", two, "wav") == 6000
    assert staging.expected(1000, ".mp3", two, "wav") == 40000
    assert staging.expected(1000, ".wav", (), "wav") > staging.expected(1000, ".wav", two, "wav")


def test_a_library_is_looked_over_by_few_requests(faulty, proxy, planned):
    """Of a hundred tracks: whether the bucket is there, one listing, and each report once."""
    for number in range(100):
        faulty.put(f"in/{number:03}.wav", b"x")
        report = {"sep": "0", "mix": {"size": 1}, "stems": {}}
        faulty.put(f"out/{number:03}/sep.json", json.dumps(report).encode())
    plan = planned(f"{faulty.url}/in/", out=f"{faulty.url}/out", resume=True)
    proxy.seen.clear()
    over = remote.before(plan)
    assert len(over) == 100
    assert all(isinstance(each, TrackFailed) for each in over.values())
    assert len(proxy.seen) == 3 + 1 + 100
