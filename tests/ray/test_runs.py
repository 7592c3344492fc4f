"""Whole runs on a Ray cluster of several nodes, by the real command; the runtime needs no torch."""

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from driver import plan
from waiting import gone, until

from sep_launcher.engines.ray.cluster import Cluster
from sep_launcher.machine import storage
from sep_launcher.planning.cluster import ClusterWish
from sep_protocol import Done, TrackFailed

pytestmark = pytest.mark.ray

spec = importlib.util.spec_from_file_location(
    "stores", Path(__file__).parents[1] / "cloud" / "conftest.py"
)
stores = importlib.util.module_from_spec(spec)
spec.loader.exec_module(stores)
server, bucket = stores.server, stores.bucket


@pytest.fixture(scope="module")
def six(nodes):
    """Three nodes with two GPUs each, which stay."""
    return [nodes.add(cpus=2, gpus=2) for _ in range(3)]


@pytest.fixture
def add(nodes):
    """Adds nodes that are there for one test."""
    made = []

    def one(**given):
        made.append(nodes.add(**given))
        return made[-1]

    yield one
    for each in made:
        if each in nodes.cluster.list_all_nodes():
            nodes.remove(each)


class Library:
    """Tracks of these names, and what runs make of them."""

    def __init__(self, folder, address, notes):
        self.folder, self.out = folder / "music", folder / "out"
        self.folder.mkdir()
        self._address, self._notes = address, notes
        self._begun = time.time()
        self.going = []

    def add(self, *names):
        for name in names:
            (self.folder / f"{name}.wav").write_bytes(bytes(1000))

    def notes(self, what):
        """Return what processes noted since this test began.

        Attempts are counted over all tests: a track that counts them has a name of its own.
        """
        files = [e for e in self._notes.glob("*.jsonl") if e.stat().st_mtime > self._begun]
        every = [json.loads(line) for each in files for line in each.read_text().splitlines()]
        found = [e for e in every if e["what"] == what and e["time"] > self._begun]
        return sorted(found, key=lambda each: each["time"])

    def words(self, *words):
        where = ["run", self.folder, "-o", self.out, "--engine", "ray", "--address", self._address]
        return [sys.executable, "-P", "-m", "sep_launcher", *map(str, [*where, *words])]

    def start(self, *words, **env):
        going = subprocess.Popen(
            self.words(*words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **env},
        )
        self.going.append(going)
        return going

    def run(self, *words, check=0, **env):
        return self.end(self.start(*words, **env), check=check)

    def end(self, going, check=0, within=90):
        out, told = going.communicate(timeout=within)
        if check is not None:
            assert going.returncode == check, told + out[-2000:]
        return SimpleNamespace(code=going.returncode, out=out, told=told)

    @property
    def reports(self):
        return sorted(each.parent.name for each in self.out.rglob("sep.json"))

    @property
    def hidden(self):
        return [each for each in self.out.rglob(".sep-*") if each.name != ".sep-run"]


@pytest.fixture
def library(nodes, home, tmp_path, notes):
    made = Library(tmp_path, nodes.address, notes)
    yield made
    for each in made.going:
        each.kill()
        if not each.stdout.closed:
            print(*each.communicate())


def test_five_hundred_tracks_on_six_gpus(library, six):
    library.add(*[f"ok-10ms-{number}" for number in range(500)])
    begun = time.monotonic()
    done = library.run("--events")
    print(f"500 tracks: {time.monotonic() - begun:.1f} s")
    assert len(library.reports) == 500
    assert len(library.notes("begin")) == 500
    assert len(library.notes("load")) == 6
    events = [json.loads(line) for line in done.out.splitlines()]
    ends = [each for each in events if each["event"] == "track-done"]
    assert sorted(each["track"] for each in ends) == list(range(500))
    devices = {(e["node"], e["reason"]) for e in events if e["event"] == "device"}
    assert len(devices) == 6
    assert not library.hidden


def begun(library, track, attempt=1):
    """Wait for the note of an attempt at a track."""

    def find():
        every = library.notes("begin")
        return next((e for e in every if (e["track"], e["attempt"]) == (track, attempt)), None)

    return until(find)


def actor_of(library, note):
    return next(e["ppid"] for e in library.notes("start") if e["pid"] == note["pid"])


def took(library, track, since):
    """Return how many seconds it was from then until a second attempt at a track began."""
    return begun(library, track, 2)["time"] - since


def test_a_child_and_an_actor_are_killed_and_one_hangs(library, six):
    library.add("slow-3s-child", "slow-3s-actor", "hang-1", "fail", *[f"ok-{n}" for n in range(8)])
    going = library.start("--workers", "3", "--json", SEP_HANG_SECONDS="4")
    child, actor = begun(library, "slow-3s-child"), begun(library, "slow-3s-actor")
    killed = time.time()
    os.kill(child["pid"], signal.SIGKILL)
    os.kill(actor_of(library, actor), signal.SIGKILL)
    print(f"its child gone after {gone(actor['pid'], within=3):.2f} s")
    after_actor = took(library, "slow-3s-actor", killed)
    after_child = took(library, "slow-3s-child", killed)
    document = json.loads(library.end(going, check=1).out)
    print(f"again after the child's death: {after_child:.2f} s, the actor's: {after_actor:.2f} s")
    assert len(library.reports) == 11
    by = {each["track"]: each for each in library.notes("begin") if each["attempt"] == 2}
    # Of these names alone: other tests have counted the others, too.
    assert {each for each in by if not each.startswith("ok-")} == {
        "slow-3s-child", "slow-3s-actor", "hang-1"}  # fmt: skip
    assert by["slow-3s-child"]["batch"] == by["hang-1"]["batch"] == 1
    assert by["slow-3s-actor"]["batch"] is None  # the node is to blame
    (bad,) = [each for each in document["tracks"] if not each["done"]]
    assert (bad["error"], bad["attempt"]) == ("AudioError", 1)
    told = " ".join(map(str, document["warnings"]))
    for word in ("signal 9", "was killed", "nothing was heard"):
        assert word in told
    assert not library.hidden


def test_a_node_goes_and_a_raylet_is_killed(library, nodes, add, six):
    """Both cost their tracks nothing but time."""
    for _ in range(2):
        add(cpus=5)
    library.add("slow-4s-one", "slow-4s-two", *[f"ok-{n}" for n in range(6)])
    going = library.start("--device", "cpu", "--cpus", "5", "--workers", "2")
    one, two = begun(library, "slow-4s-one"), begun(library, "slow-4s-two")
    first, second = (node_of(nodes, actor_of(library, each)) for each in (one, two))
    killed = time.time()
    nodes.remove(first)
    os.kill(nodes.raylet(second), signal.SIGKILL)
    add(cpus=10)
    after = [took(library, each["track"], killed) for each in (one, two)]
    print(f"again after the node's death: {after[0]:.2f} s, the raylet's: {after[1]:.2f} s")
    library.end(going)
    assert len(library.reports) == 8
    assert {each["batch"] for each in library.notes("begin")} == {None}
    assert not library.hidden


def node_of(nodes, actor):
    """Return the node whose raylet parents an actor."""
    raylet = psutil.Process(actor).ppid()
    return next(each for each in nodes.every.values() if nodes.raylet(each) == raylet)


def test_the_driver_is_killed_and_the_next_goes_on(library, six):
    library.add(*[f"ok-100ms-{number}" for number in range(40)])
    going = library.start("--workers", "2")
    until(lambda: len(library.notes("end")) >= 16)
    going.kill()  # nobody reaps it before the next one begins
    killed = time.monotonic()
    pids = {each["pid"] for each in library.notes("start")}
    pids |= {each["ppid"] for each in library.notes("start")}
    for pid in pids:
        gone(pid, within=25)
    print(f"all gone {time.monotonic() - killed:.2f} s after the driver")
    was = set(library.reports)
    assert len(was) < 40
    begun_before = len(library.notes("begin"))
    library.run("--workers", "2", "--resume")
    assert len(library.reports) == 40
    again = [each["track"] for each in library.notes("begin")[begun_before:]]
    assert not was & set(again)
    assert not library.hidden


def test_a_poison_track_is_quarantined_after_two_nodes(library, six):
    library.add("crash-3", *[f"ok-300ms-{number}" for number in range(12)])
    (library.folder / "crash-3.wav").write_bytes(b"small")  # so it is the last
    done = library.run("--workers", "3", "--json", check=1)
    document = json.loads(done.out)
    assert len(library.reports) == 12
    (bad,) = [each for each in document["tracks"] if not each["done"]]
    assert bad["error"] == "QuarantinedError"
    assert "signal 9" in bad["message"]
    tries = [each for each in library.notes("begin") if each["track"] == "crash-3"]
    assert len(tries) == 3
    nodes = {each["name"]: each["node"] for each in document["workers"]}
    died = [nodes[each.partition(":")[0]] for each in document["warnings"]]
    assert len({*died, bad["node"]}) >= 2
    library.run("--workers", "1", "--resume", "--retry-quarantined")
    assert len(library.reports) == 13


def test_a_node_with_another_sep_leaves(library, nodes, add, six):
    good = add(cpus=6)
    add(cpus=6, SEP_FAKE_VERSION="0.0.1")
    library.add("slow-3s-good", *[f"ok-{number}" for number in range(5)])
    words = ("--device", "cpu", "--cpus", "6", "--workers")
    done = library.run(*words, "2")
    assert "leaves: " in done.told
    assert "0.0.1" in done.told
    assert len(library.reports) == 6
    nodes.remove(good)
    library.add("ok-late")
    done = library.run(*words, "1", "--resume", check=12)
    assert "has sep 0.0.1" in done.told
    assert len(library.reports) == 6
    assert not library.hidden


def test_a_node_that_kills_all_is_banned_and_its_worker_moves(library, add, six, tmp_path):
    deadly = tmp_path / "deadly"
    deadly.write_text("#!/bin/sh\ntouch $0.begun\nsleep 1\nkill -9 $$\n")
    deadly.chmod(0o755)
    add(cpus=7, SEP_RUNTIME_PYTHON=str(deadly))
    library.add(*[f"ok-{number}" for number in range(8)])
    going = library.start("--device", "cpu", "--cpus", "7", "--workers", "1")
    until(deadly.with_name("deadly.begun").exists)
    add(cpus=7)
    done = library.end(going)
    assert "gets nothing more" in done.told
    assert len(library.reports) == 8


def test_two_drivers_on_one_folder(library, six):
    library.add("hang-1-b", *[f"ok-{number}" for number in range(4)])
    first = library.start("--workers", "1")
    begun(library, "hang-1-b")
    assert "--take-over" in library.run("--workers", "1", "--resume", check=3).told
    library.run("--workers", "2", "--resume", "--take-over")
    library.end(first, check=130)
    assert len(library.reports) == 5
    assert not library.hidden


def test_ctrl_c_leaves_whole_tracks_and_nobody(library, six):
    """Three workers on one GPU, and none of them is left."""
    library.add("slow-20s-a", "slow-20s-b", "ok-1", "ok-2")
    going = library.start("--gpu-share", "3", "--workers", "3")
    until(lambda: len(library.notes("end")) == 2 and len(library.notes("begin")) == 4)
    starts = library.notes("start")
    going.send_signal(signal.SIGINT)
    asked = time.monotonic()
    done = library.end(going, check=130)
    print(f"ended {time.monotonic() - asked:.2f} s after Ctrl-C")
    assert "--resume" in done.told
    for each in starts:
        gone(each["pid"], within=1)
        gone(each["ppid"], within=5)
        assert each["environment"]["OMP_NUM_THREADS"] == "1"
    assert library.reports == ["ok-1", "ok-2"]
    assert not library.hidden


def test_ctrl_c_while_no_node_has_room(library, six):
    library.add("ok-1")
    going = library.start("--device", "cpu", "--cpus", "64", "--workers", "1")
    while "on a Ray cluster" not in going.stderr.readline():
        pass
    time.sleep(1)
    going.send_signal(signal.SIGINT)
    library.end(going, check=130, within=20)
    assert not library.reports
    assert not library.notes("start")


def test_whoever_is_killed_when_all_is_done_once(library, six):
    """Chaos: every two seconds a runtime or an actor dies."""
    names = [f"ok-50ms-{number}" for number in range(200)]
    library.add(*names)
    chance = random.Random(23)  # the same again for who looks into it
    began = time.monotonic()
    going = library.start("--workers", "3", "--events")
    out = []
    reader = threading.Thread(target=lambda: out.extend(going.stdout))
    reader.start()
    killed = 0
    while going.poll() is None:
        time.sleep(2)
        starts = [e for e in library.notes("start") if psutil.pid_exists(e["pid"])]
        if starts:
            victim = chance.choice(starts)[chance.choice(["pid", "ppid"])]
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                killed += 1
    reader.join()
    assert library.end(going).code == 0
    print(f"chaos: {killed} killed within {time.monotonic() - began:.1f} s")
    assert killed > 1
    ends = [each for each in map(json.loads, out) if each["event"] == "track-done"]
    assert sorted(each["track"] for each in ends) == list(range(200))
    assert library.reports == sorted(names)
    for name in names:
        report = json.loads((library.out / name / "sep.json").read_text())
        files = {each["file"]: each["bytes"] for each in report["stems"].values()}
        there = {each.name: each.stat().st_size for each in (library.out / name).glob("*.wav")}
        assert there == files
    assert not library.hidden
    before = len(library.notes("begin"))
    library.run("--workers", "1", "--resume")
    assert len(library.notes("begin")) == before


@pytest.fixture
def stage(tmp_path):
    """The folder that workers stage in."""
    folder = tmp_path / "stage"
    folder.mkdir()
    return folder


def test_a_store_and_a_worker_that_dies(add, library, bucket, stage):
    add(cpus=8)  # with what reaches the bucket in its environment
    add(cpus=4, AWS_ACCESS_KEY_ID="")
    names = ["slow-3s-store", *[f"ok-{number}" for number in range(5)]]
    for name in names:
        bucket.put(f"in/{name}.wav", bytes(1000))
    library.folder, library.out = f"{bucket.url}/in", f"{bucket.url}/out"
    going = library.start("--stage", stage, "--device", "cpu", "--cpus", "4", "--workers", "3")
    os.kill(actor_of(library, begun(library, "slow-3s-store")), signal.SIGKILL)
    told = library.end(going).told
    assert "was killed" in told
    assert "leaves: " in told
    assert "no credentials" in told
    for name in names:
        mix = bucket.json(f"out/{name}/sep.json")["mix"]
        assert mix["path"] == f"{bucket.url}/in/{name}.wav"
        assert mix["etag"]
        there = {key.rpartition("/")[2] for key in bucket.keys(f"out/{name}/")}
        assert there == {"sep.json", "kick.wav", "snare.wav"}
    assert list(stage.iterdir()) == []


def test_an_attempt_that_was_given_up_stores_nothing(nodes, add, bucket, stage, unique):
    add(cpus=9)
    bucket.put(f"in/ok-{unique}.wav", bytes(1000))
    url = f"{bucket.url}/in/ok-{unique}.wav"
    made = plan(f"{bucket.url}/out", f"ok-{unique}", entry=storage.stat(url), stage=stage)
    asked = []

    def never(job, track):
        asked.append((job, track))
        return False

    wish = ClusterWish(address=nodes.address, device="cpu", cpus=9, workers=1)
    with Cluster(wish) as cluster:
        events = list(cluster.engines(may_commit=never)[0].start(made))
    assert asked == [(made.job.id, 0)]
    assert isinstance(events[-1], Done)
    (bad,) = [each for each in events if isinstance(each, TrackFailed)]
    assert "another worker has it" in bad.message
    assert bucket.keys("out/") == []
    assert list(stage.iterdir()) == []
