"""What is decided about a Ray cluster without one, and without Ray."""

import json
import queue
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from sep_launcher.engines.ray import access, package
from sep_launcher.engines.ray.actor import Actor, Thin, dump_fault, load_fault
from sep_launcher.engines.ray.cluster import checked, places
from sep_launcher.engines.ray.engine import RayEngine
from sep_launcher.engines.ray.package import Needs, Node
from sep_launcher.engines.ray.tails import MOST_BYTES, Tails
from sep_launcher.engines.ray.work import dump_work, load_work
from sep_launcher.machine.storage import Entry
from sep_launcher.planning.cluster import ClusterWish
from sep_launcher.planning.plan import Plan
from sep_launcher.planning.route import Route
from sep_protocol import Job, Model, Phase, Progress, Track
from sep_protocol.errors import (
    DeviceError,
    EngineError,
    ModelError,
    NoRouteError,
    RuntimeFailedError,
    TrackError,
    UsageError,
)


def node(cpus, gpus=0):
    return Node(id="a", host="a", address="10.0.0.1", port=1, cpus=cpus, gpus=gpus)


HEAD = node(0)


@pytest.mark.parametrize(
    ("nodes", "wish", "count", "needs"),
    [
        ([node(16, 4)], {}, 4, Needs(cpus=4, gpus=1.0)),
        ([node(16, 4), node(4, 2), node(32)], {}, 6, Needs(cpus=2, gpus=1.0)),
        ([node(64, 1)], {}, 1, Needs(cpus=8, gpus=1.0)),
        ([node(2, 8)], {}, 8, Needs(cpus=0, gpus=1.0)),
        ([node(12, 2)], {"gpu_share": 3}, 6, Needs(cpus=2, gpus=0.3333)),
        ([node(16, 4)], {"device": "cpu"}, 8, Needs(cpus=2)),
        ([HEAD, node(16), node(5)], {}, 10, Needs(cpus=2)),
        ([HEAD, node(1), node(1)], {}, 2, Needs(cpus=1)),
        ([node(16)], {"cpus": 5}, 3, Needs(cpus=5)),
        ([node(16)], {"workers": 2}, 2, Needs(cpus=2)),
        # Nodes that an autoscaler has not begun yet.
        ([HEAD], {"workers": 8, "device": "cuda"}, 8, Needs(cpus=2, gpus=1.0)),
        ([HEAD], {"workers": 8}, 8, Needs(cpus=2)),
    ],
)
def test_workers_by_what_nodes_have(nodes, wish, count, needs):
    assert places(nodes, ClusterWish(**wish)) == (count, needs)


def test_no_place_for_any_worker():
    with pytest.raises(DeviceError, match="no node of the Ray cluster has a GPU"):
        places([node(16)], ClusterWish(device="cuda"))
    with pytest.raises(NoRouteError, match="64 CPUs"):
        places([node(16)], ClusterWish(cpus=64))
    with pytest.raises(NoRouteError):
        places([HEAD], ClusterWish())


@pytest.mark.parametrize("wish", [{"workers": 0}, {"cpus": 0}, {"gpu_share": 0}])
def test_counts_that_cannot_be(wish):
    with pytest.raises(UsageError, match="at least 1"):
        ClusterWish(**wish)


@pytest.mark.parametrize("address", ["head:6379", "10.0.0.1:6379", "[::1]:6379"])
def test_addresses(address):
    assert checked(address, "linux") == address


@pytest.mark.parametrize("address", ["", "head", "head:", "http://head:1", "a b:1", "ray://h:1"])
def test_what_is_no_address(address):
    with pytest.raises(UsageError):
        checked(address, "linux")


@pytest.mark.parametrize(("system", "name"), [("darwin", "macOS"), ("win32", "Windows")])
def test_several_machines_are_linux(system, name):
    with pytest.raises(EngineError, match=f"several machines with {name}"):
        checked("head:6379", system)
    assert checked("127.0.0.1:6379", system)


@pytest.mark.parametrize(
    "fault",
    [
        ModelError("m", "h"),
        RuntimeFailedError("m"),
        TrackError("{path}: m", "h", "/p\udcff", command="c"),
    ],
)
def test_errors_cross_machines(fault):
    text = dump_fault(fault)
    text.encode("ascii")
    told = load_fault(text)
    assert type(told) is type(fault)
    for name in ("message", "hint", "path", "command", "code"):
        assert getattr(told, name) == getattr(fault, name)


def test_an_error_that_only_the_launcher_knows_is_its_nearest_kin():
    class OwnError(DeviceError):
        pass

    assert type(load_fault(dump_fault(OwnError("m")))) is DeviceError


def test_progress_is_thinned_and_nothing_else():
    thin = Thin()
    told = Progress(track=0, done=1, total=2, sample_rate=1)
    assert thin.passes(told)
    assert not thin.passes(told)
    assert thin.passes(Phase(name="load"))


def test_a_token_is_for_its_owner_alone_and_the_dead_are_swept(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(access, "SHORT", 1000)
    done = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1, check=True
    )
    dead = tmp_path / f"{access.PREFIX}{int(done.stdout)}-x"
    (dead / "ray").mkdir(parents=True)
    other = tmp_path / f"{access.PREFIX}mine"
    other.mkdir()
    token = access.token_file()
    assert token.is_relative_to(tmp_path)
    assert token.stat().st_mode & 0o077 == 0
    assert token.parent.stat().st_mode & 0o077 == 0
    assert len(token.read_text()) == 64
    assert not dead.exists()
    assert other.exists()


def test_the_ends_of_logs_are_kept_and_no_more(tmp_path):
    tails = Tails(tmp_path / "logs")
    for index in range(5000):
        tails("sep-1-0", f"line {index} \udcff{'x' * 40}")
    kept = sorted((tmp_path / "logs").iterdir())
    assert [each.name for each in kept] == ["sep-1-0.log", "sep-1-0.log.1"]
    assert sum(each.stat().st_size for each in kept) < 3 * MOST_BYTES
    assert kept[0].read_text().splitlines()[-1].startswith("line 4999 ")
    (tmp_path / "file").touch()
    Tails(tmp_path / "file" / "no")("a", "stops nobody")


def test_a_worker_asks_before_it_commits_and_hears_the_answer():
    actor = Actor("sep-test-0", gpu=False, cpus=1, where=str)
    answers = queue.SimpleQueue()

    def work():
        for track in (0, 1):
            answers.put(actor.may_commit("lease", track))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    for track, granted in ((0, True), (1, False)):
        assert actor._items.get(timeout=10) == ("ask", json.dumps(["lease", track]))
        actor.commit("lease", track, granted=granted)
        assert answers.get(timeout=10) is granted
    thread.join(10)


CUT_OFF = """
import os, sys, threading, time
from sep_launcher.engines.ray import actor as module
from sep_protocol.errors import RuntimeFailedError

class Killed:
    def __init__(self):
        self.ended = threading.Event()

    def start(self, plan):
        yield from ()
        print(os.getpid(), flush=True)
        self.ended.wait()
        raise RuntimeFailedError("ended by signal 9")

    def kill(self):
        self.ended.set()
        time.sleep(1)  # enough for whoever would tell it

if os.fork():
    sys.stdin.read()  # until it is killed
module.load_work = str
actor = module.Actor("sep-test-cut-off", gpu=False, cpus=1, where=str)
actor._plan, actor._engine_of = str, lambda plan, engine=Killed(): engine
actor._engine = actor._engine_of(None)
for item in actor.work(""):
    print(item, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is told of parents there")
def test_a_runtime_that_ends_with_its_node_is_not_told_as_the_tracks_fault():
    command = [sys.executable, "-c", CUT_OFF]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as raylet:
        assert int(raylet.stdout.readline()) != raylet.pid
        raylet.kill()
        assert raylet.stdout.read() == ""  # to the end of the actor's process


def planned(*tracks, **more):
    """Return the plan of a Job."""
    job = Job(id="00000001", tracks=tracks, model=Model(name="toy"))
    route = Route(engine="native", device="cpu", reason="", ready=True)
    return Plan(job=job, route=route, expects="", place="", environment={}, **more)


def test_a_node_hears_what_of_a_plan_it_cannot_know():
    mixes = [Entry(url=f"s3://b/{name}.wav", size=7, etag="e", mtime_ns=1) for name in "ab"]
    plan = planned(
        Track(audio=mixes[0].url, out="s3://b/out/a"),
        stems=("kick",),
        sources={each.url: each for each in mixes},
        stage=Path("/disk"),
        stage_limit=5,
    )
    work = load_work(dump_work(plan))
    assert (work.job, work.stems) == (plan.job, plan.stems)
    assert work.sources == (mixes[0],)  # of its own tracks
    assert (work.stage, work.stage_limit) == (Path("/disk"), 5)
    alone = load_work(dump_work(planned(stems=())))
    assert (alone.sources, alone.stage) == ((), None)


def test_the_driver_answers_by_who_holds_the_lease(monkeypatch):
    answered = []
    monkeypatch.setattr(package, "made", lambda *_, **__: SimpleNamespace(commit="c", work="w"))
    told = [("ask", '["a", 0]'), ("ask", '["b", 1]'), ("log", "line")]
    monkeypatch.setattr(package, "stream", lambda *_: iter(told))
    monkeypatch.setattr(package, "ask", lambda *given, **named: answered.append((given, named)))
    logged = []
    engine = RayEngine("n", Needs(cpus=1), logged.append, lambda lease, _: lease == "a")
    monkeypatch.setattr(engine, "ready", str)
    assert list(engine.start(planned(stems=()))) == []
    assert [(given, named["granted"]) for given, named in answered] == [
        (("c", "a", 0), True),
        (("c", "b", 1), False),
    ]
    assert logged == ["line"]


MISSING = """
import sys
sys.modules["ray"] = None
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "ray" else real(name, *a)
from sep_launcher.engines.ray.cluster import Cluster
from sep_launcher.planning.cluster import ClusterWish
try:
    Cluster(ClusterWish()).__enter__()
except Exception as fault:
    print(type(fault).__name__, fault.code, fault.hint)
"""


def test_ray_is_missing(home):
    done = subprocess.run([sys.executable, "-c", MISSING], stdout=-1, text=True, check=True)
    assert done.stdout.startswith("NotReadyError 12 run: ")
    assert "pip install 'ray[default]>=2.60,<3'" in done.stdout
