"""Nodes come and go; runtime, actor, raylet and node are killed: who is blamed, what is left."""

import os
import signal
import threading
import time

import pytest
from waiting import gone, until

from sep_launcher.engines import LostError
from sep_launcher.engines.ray.cluster import Cluster
from sep_launcher.planning.cluster import ClusterWish
from sep_protocol import DeviceChosen, Done, Failed, Progress, TrackDone
from sep_protocol.errors import NoRouteError, NotReadyError, RuntimeFailedError

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def steady(nodes):
    """A node with one GPU that stays."""
    return nodes.add(cpus=3, gpus=1)


@pytest.fixture
def cluster(nodes, steady):
    with Cluster(ClusterWish(address=nodes.address, gpu_share=3)) as made:
        yield made


@pytest.fixture
def started(fake, notes):
    """The notes of the process that began a track, once it has."""

    def find(track):
        every = fake.notes(notes)
        began = [each for each in every if each["what"] == "begin" and each["track"] == track]
        if not began:
            return None
        pid = began[-1]["pid"]
        return next(each for each in every if each["what"] == "start" and each["pid"] == pid)

    return lambda track: until(lambda: find(track))


class Heard(threading.Thread):
    """A Job on a thread of its own, as the pool has them."""

    def __init__(self, engine, plan):
        super().__init__(daemon=True)
        self.engine, self.plan = engine, plan
        self.events, self.fault, self.ended = [], None, None
        self.start()

    def run(self):
        try:
            self.events.extend(self.engine.start(self.plan))
        except Exception as fault:  # noqa: BLE001 (the test looks at it)
            self.fault = fault
        self.ended = time.monotonic()

    def result(self, within=40):
        self.join(within)
        assert not self.is_alive(), "it has not ended"
        return self


def test_three_workers_share_a_gpu_and_the_cores(cluster, job, unique):
    engines = cluster.engines()
    assert len(engines) == 3
    runs = [Heard(each, job(f"slow-1s-{unique}{i}")) for i, each in enumerate(engines)]
    reasons = {str(run.result().events) for run in runs}
    assert all("CUDA_VISIBLE_DEVICES=0 OMP_NUM_THREADS=1" in each for each in reasons)


def test_a_crash_is_the_tracks_and_no_other_is_touched(cluster, job, unique):
    one, two, _ = cluster.engines()
    other = Heard(two, job(f"slow-2s-{unique}b"))
    crashed = Heard(one, job(f"crash-1-{unique}")).result()
    assert type(crashed.fault) is RuntimeFailedError
    assert "signal 9" in crashed.fault.message
    again = Heard(one, job(f"crash-1-{unique}")).result()
    assert isinstance(again.events[-1], Done)
    assert isinstance(other.result().events[-1], Done)


def test_an_actor_is_killed_and_its_runtime_ends_before_the_next_begins(
    cluster, job, started, unique
):
    engine = cluster.engines()[0]
    run = Heard(engine, job(f"deaf-1-{unique}"))
    child = started(f"deaf-1-{unique}")
    begun = time.monotonic()
    os.kill(child["ppid"], signal.SIGKILL)
    took = gone(child["pid"], within=3)
    fault = run.result().fault
    assert isinstance(fault, LostError)
    assert fault.blame == "node"
    print(f"actor killed: runtime gone after {took:.2f} s, told after {run.ended - begun:.2f} s")
    place = engine.ready()
    again = Heard(engine, job(f"deaf-1-{unique}")).result()
    assert isinstance(again.events[-1], Done)
    print(f"done again on {place} after {again.ended - begun:.2f} s")
    second = started(f"deaf-1-{unique}")
    assert second["pid"] != child["pid"]
    gone(child["pid"], within=0.1)


def test_a_hanging_track_is_killed_by_the_clock_of_the_pool(cluster, job, started, unique):
    engine = cluster.engines()[0]
    run = Heard(engine, job(f"deaf-{unique}"))
    child = started(f"deaf-{unique}")
    begun = time.monotonic()
    engine.kill()
    assert type(run.result().fault) is RuntimeFailedError
    gone(child["pid"], within=1)
    print(f"killed and told after {run.ended - begun:.2f} s")
    assert isinstance(Heard(engine, job(f"ok-{unique}")).result().events[-1], Done)


def test_an_actor_that_does_not_answer_is_killed_with_its_runtime(cluster, job, started, unique):
    engine = cluster.engines()[0]
    run = Heard(engine, job(f"deaf-1-{unique}"))
    child = started(f"deaf-1-{unique}")
    os.kill(child["ppid"], signal.SIGSTOP)
    begun = time.monotonic()
    engine.kill()
    fault = run.result(60).fault
    print(f"silent actor killed and told after {run.ended - begun:.2f} s: {fault}")
    assert isinstance(fault, LostError)
    assert isinstance(Heard(engine, job(f"ok-{unique}")).result(60).events[-1], Done)
    gone(child["pid"], within=1)


def test_stop_is_gentle(cluster, job, started, unique):
    engine = cluster.engines()[0]
    run = Heard(engine, job(f"slow-60s-{unique}"))
    child = started(f"slow-60s-{unique}")
    begun = time.monotonic()
    engine.stop()
    assert time.monotonic() - begun < 6, "it heard no interrupt, which has eight seconds"
    last = run.result().events[-1]
    assert isinstance(last, Failed)
    assert last.code == 130
    gone(child["pid"], within=1)


def test_progress_is_told_once_a_second(cluster, job, unique):
    run = Heard(cluster.engines()[0], job(f"slow-2.5s-{unique}")).result()
    told = [each for each in run.events if isinstance(each, Progress)]
    assert 2 <= len(told) <= 4


@pytest.mark.parametrize("how", ["node", "raylet"])
def test_a_node_goes_and_nobody_is_blamed(nodes, steady, job, started, unique, how):
    nodes.add(cpus=4)
    with Cluster(ClusterWish(address=nodes.address, device="cpu", cpus=4, workers=1)) as cluster:
        engine = cluster.engines()[0]
        run = Heard(engine, job(f"hang-1-{unique}"))
        child = started(f"hang-1-{unique}")
        node = nodes.every[engine._node.id]
        begun = time.monotonic()
        if how == "node":
            nodes.remove(node)
        else:
            os.kill(nodes.raylet(node), signal.SIGKILL)
        took = gone(child["pid"], within=10)
        fault = run.result().fault
        assert isinstance(fault, LostError)
        assert fault.blame == "nobody", fault
        print(f"{how}: runtime gone after {took:.2f} s, told after {run.ended - begun:.2f} s")
        nodes.add(cpus=4)
        again = Heard(engine, job(f"hang-1-{unique}")).result(60)
        assert any(isinstance(each, TrackDone) for each in again.events), again.fault
        print(f"{how}: done on another node after {again.ended - begun:.2f} s, with its start")
        assert engine._node.id != node.node_id


def test_a_worker_leaves_a_node_that_it_shall_avoid(nodes, steady):
    first, second = nodes.add(cpus=5), nodes.add(cpus=5)
    with Cluster(ClusterWish(address=nodes.address, device="cpu", cpus=5, workers=1)) as cluster:
        engine = cluster.engines()[0]
        engine.ready()
        was = engine._node.id
        engine.avoid()
        engine.ready()
        assert {was, engine._node.id} == {first.node_id, second.node_id}


def test_a_worker_without_room_waits_until_there_is_some(nodes, steady, job, unique):
    with Cluster(ClusterWish(address=nodes.address, device="cpu", cpus=6, workers=1)) as cluster:
        engine = cluster.engines()[0]
        waiting = threading.Thread(target=engine.ready, daemon=True)
        waiting.start()
        waiting.join(1)
        assert waiting.is_alive()
        nodes.add(cpus=6)
        waiting.join(30)
        assert not waiting.is_alive()


def test_no_gpu_is_given_to_a_worker_of_the_cpu(nodes, steady, job, unique):
    with Cluster(ClusterWish(address=nodes.address, device="cpu", workers=1)) as made:
        events = list(made.engines()[0].start(job(f"ok-{unique}")))
    device = next(each for each in events if isinstance(each, DeviceChosen))
    assert device.device == "cpu"
    assert device.reason == "CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=2"


def test_a_worker_that_has_room_nowhere(nodes, steady):
    with (
        Cluster(ClusterWish(address=nodes.address, device="cpu", cpus=64)) as made,
        pytest.raises(NoRouteError, match="64 CPUs"),
    ):
        made.engines()


def test_a_node_whose_runtime_is_of_another_sep(nodes, job, unique):
    nodes.add(cpus=7, SEP_FAKE_VERSION="0.0.1")
    with Cluster(ClusterWish(address=nodes.address, device="cpu", cpus=7, workers=1)) as made:
        engine = made.engines()[0]
        engine.ready()
        with pytest.raises(NotReadyError, match=r"has sep 0\.0\.1"):
            list(engine.start(job(f"ok-{unique}")))


def test_a_node_without_a_runtime(nodes, job, unique):
    nodes.add(cpus=8, SEP_RUNTIME_PYTHON="/nowhere/python")
    with Cluster(ClusterWish(address=nodes.address, device="cpu", cpus=8, workers=1)) as made:
        engine = made.engines()[0]
        with pytest.raises(NotReadyError, match="/nowhere/python"):
            list(engine.start(job(f"ok-{unique}")))
