"""Workers that are still to get a place: the run waits for them, and ends where none can come."""

import threading
from types import SimpleNamespace

import pytest
from waiting import until

from sep_launcher.library import pool as pools
from sep_launcher.library.pool import Pool
from sep_launcher.planning.plan import Plan
from sep_launcher.planning.route import ELSEWHERE
from sep_launcher.planning.workers import Worker
from sep_protocol import Done, Hello, Job, Model, Phase, Track, TrackDone, TrackFailed, Warned
from sep_protocol.errors import ExitCode, ModelError, NoRouteError, RuntimeFailedError, SepError


class Engine:
    """One that gets a place when it is told so; `fault` is what is in the way of it."""

    by = None

    def __init__(self, fault=None, dies=False):
        self.free = threading.Event()
        self.avoided = 0
        self._fault, self._dies = fault, dies

    def ready(self):
        assert self.free.wait(10)
        if self._fault:
            raise self._fault
        return f"node-{self.avoided}"

    def avoid(self):
        self.avoided += 1
        self._fault = NoRouteError("no other node")

    def close(self):
        pass

    def start(self, plan):
        yield Hello(job=plan.job.id)
        for index, track in enumerate(plan.job.tracks):
            yield Phase(name="separate", track=index)
            if self._dies:
                raise RuntimeFailedError("the runtime died")
            length = {"frames": 1, "sample_rate": 1, "chunk": 1, "hop": 1, "chunks": 1}
            yield TrackDone(track=index, out=track.out, stems={}, seconds=0.1, **length)
        yield Done(done=len(plan.job.tracks), failed=0, seconds=0.1)


@pytest.fixture
def pooled():
    """Makes the pool and plan of these engines, over so many tracks."""

    def make(*engines, tracks=4, **options):
        names = [f"worker-{number}" for number, _ in enumerate(engines)]
        workers = tuple(
            Worker(
                name=name, device="cpu", route=ELSEWHERE, place="", precision="auto", environment={}
            )
            for name in names
        )
        every = tuple(Track(audio=f"/m/{n}.wav", out=f"/o/{n}") for n in range(tracks))
        job = Job(id="00000001", tracks=every, model=Model(name="toy"))
        plan = Plan(
            job=job,
            route=ELSEWHERE,
            expects="",
            place="",
            stems=(),
            environment={},
            workers=workers,
            elsewhere=True,
            sizes=(1.0,) * tracks,
        )
        ledger = SimpleNamespace(note=lambda *_: None, tick=lambda: None)
        by_name = dict(zip(names, engines, strict=True))
        pool = Pool(lambda worker, _: by_name[worker.name], ledger, alike=False, **options)
        return pool, plan

    return make


@pytest.fixture(autouse=True)
def ticks(monkeypatch):
    """Nobody waits long for news."""
    monkeypatch.setattr(pools, "TICK_SECONDS", 0.01)


def test_it_is_told_once_that_the_run_waits_for_room(pooled):
    engine, now = Engine(), iter(range(0, 10**6, 10))
    pool, plan = pooled(engine, clock=lambda: next(now))
    events = pool.start(plan)
    first = next(events)
    assert isinstance(first, Warned)
    assert "waits for one" in first.message
    engine.free.set()
    rest = list(events)
    assert not any(isinstance(each, Warned) for each in rest)
    assert rest[-1].done == 4


def test_a_worker_without_a_place_keeps_nobody_from_working(pooled):
    here, nowhere = Engine(), Engine()
    here.free.set()
    pool, plan = pooled(here, nowhere)
    assert list(pool.start(plan))[-1].done == 4
    nowhere.free.set()


def test_where_all_leave_the_first_reason_ends_the_run(pooled):
    one, two = Engine(ModelError("no model")), Engine(ModelError("no model"))
    one.free.set()
    two.free.set()
    pool, plan = pooled(one, two)
    heard = []
    with pytest.raises(SepError, match="no model") as fault:
        heard += pool.start(plan)
    assert fault.value.code == ExitCode.MODEL


def test_a_banned_worker_that_can_go_nowhere_ends_the_run_with_the_deaths(pooled):
    engine = Engine(dies=True)
    engine.free.set()
    pool, plan = pooled(engine)
    with pytest.raises(RuntimeFailedError, match="3 tracks died one after the other on node-0"):
        list(pool.start(plan))
    assert engine.avoided == 1


def test_a_bug_on_the_way_to_a_place_ends_the_run(pooled):
    engine = Engine(fault=ValueError("no such node"))
    engine.free.set()
    pool, plan = pooled(engine)
    with pytest.raises(SepError, match="unexpected ValueError: no such node"):
        list(pool.start(plan))


class Deaf(Engine):
    """One that says nothing of its second track, and whose kill does nothing."""

    def start(self, plan):
        yield Hello(job=plan.job.id)
        yield Phase(name="separate", track=0)
        threading.Event().wait()

    def kill(self):
        pass


def test_a_worker_that_cannot_be_killed_is_given_up(pooled, monkeypatch):
    monkeypatch.setattr(pools, "UNKILLED_SECONDS", 0.2)
    monkeypatch.setattr(pools, "TICK_SECONDS", 0.05)
    deaf, good = Deaf(), Engine()
    deaf.free.set()
    good.free.set()
    pool, plan = pooled(deaf, good, tracks=3, hang=0.5)
    events = list(pool.start(plan))
    assert events[-1].done == 3
    assert sum(isinstance(each, TrackDone) for each in events) == 3


def test_whoever_was_not_heard_is_not_taken_for_dead(pooled, monkeypatch):
    """The deciding thread was held up: by a terminal at rest, by a store."""
    now = [0.0]
    engine = Engine()
    engine.free.set()
    pool, plan = pooled(engine, hang=60.0, clock=lambda: now[0])
    events = []
    for event in pool.start(plan):
        now[0] += 100.0
        events.append(event)
    assert events[-1].done == 4
    assert not any(isinstance(each, Warned) for each in events)


class Full(Engine):
    """One whose disk is full; it says so as soon as `others` are there."""

    others = staticmethod(lambda: True)

    def ready(self):
        assert self.free.wait(10)
        if self.avoided:
            raise NoRouteError("no other node")
        return "full"

    def start(self, plan):
        yield Hello(job=plan.job.id)
        until(self.others)
        for index, _ in enumerate(plan.job.tracks):
            yield TrackFailed(track=index, error="DiskFullError", message="the disk is full")
        yield Done(done=0, failed=len(plan.job.tracks), seconds=0.1)


def test_a_node_whose_disk_is_full_rests_and_the_others_do_its_tracks(pooled):
    full, good = Full(), Engine()
    full.free.set()
    good.free.set()
    pool, plan = pooled(full, good)
    full.others = lambda: pool.leases.has("worker-1")
    events = list(pool.start(plan))
    told = [each.message for each in events if isinstance(each, Warned)]
    assert told[0] == "full gets nothing more: the disk is full there"
    assert events[-1].done == 4


def test_where_every_disk_is_full_the_tracks_fail(pooled):
    full = Full()
    full.free.set()
    pool, plan = pooled(full)
    assert list(pool.start(plan))[-1].failed == 4
