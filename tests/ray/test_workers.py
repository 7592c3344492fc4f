"""Workers of a Ray cluster do Jobs, each on its own node and GPU, with its own threads."""

import queue
import threading

import pytest

from sep_launcher.engines.ray.cluster import Cluster
from sep_launcher.planning.cluster import ClusterWish
from sep_protocol import DeviceChosen, Done, Failed, Hello, Model, TrackFailed
from sep_protocol.errors import EngineError, ModelError

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def three(nodes):
    for _ in range(3):
        nodes.add(cpus=4, gpus=2)


@pytest.fixture(scope="module")
def logged():
    return []


@pytest.fixture(scope="module")
def cluster(nodes, three, logged):
    with Cluster(ClusterWish(address=nodes.address)) as made:
        made.workers = made.engines(lambda *line: logged.append(line))
        yield made


@pytest.fixture
def engine(cluster):
    return cluster.workers[0]


def test_a_worker_per_gpu_and_each_says_another(cluster, job, tmp_path):
    assert len(cluster.workers) == 6
    places = [each.ready() for each in cluster.workers]
    assert sorted(map(places.count, set(places))) == [2, 2, 2]
    seen = set()
    for index, (engine, place) in enumerate(zip(cluster.workers, places, strict=True)):
        events = list(engine.start(job(f"ok-{index}")))
        assert [type(events[0]), type(events[-1])] == [Hello, Done]
        device = next(each for each in events if isinstance(each, DeviceChosen))
        assert device.device == "cuda:0"
        assert "OMP_NUM_THREADS=2" in device.reason
        seen.add((place, device.reason))
        assert (tmp_path / "out" / f"ok-{index}" / "sep.json").is_file()
    assert len(seen) == 6


def test_many_tracks_through_all_of_them(cluster, job, tmp_path, unique):
    waiting = queue.SimpleQueue()
    names = [f"ok-20ms-{unique}{index}" for index in range(48)]
    for name in names:
        waiting.put(name)
    faults = []

    def work(engine):
        while True:
            try:
                name = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                *_, last = engine.start(job(name))
                assert isinstance(last, Done)
            except Exception as fault:  # noqa: BLE001 (the test looks at it)
                faults.append(fault)

    threads = [threading.Thread(target=work, args=(each,)) for each in cluster.workers]
    for each in threads:
        each.start()
    for each in threads:
        each.join(120)
    assert not faults
    assert sorted(each.parent.name for each in tmp_path.glob("out/*/sep.json")) == sorted(names)
    assert not list(tmp_path.glob("out/.sep-*"))


def test_a_job_of_several_tracks_and_one_that_is_no_audio(engine, job, unique):
    events = list(engine.start(job(f"ok-{unique}", f"fail-{unique}")))
    assert events[-1].done == 1
    assert [type(each) for each in events].count(TrackFailed) == 1


@pytest.mark.parametrize(("name", "code"), [("always-oom", 14), ("device", 13), ("model", 16)])
def test_a_job_that_fails_says_so(engine, job, unique, name, code):
    last = list(engine.start(job(f"{name}-{unique}")))[-1]
    assert isinstance(last, Failed)
    assert last.code == code


def test_a_node_without_the_model_says_so(engine, job, unique):
    made = job(f"ok-{unique}", model=Model(name="toy", folder="/nowhere/toy"))
    with pytest.raises(ModelError, match="the model toy is not installed on"):
        list(engine.start(made))
    made = job(f"ok-{unique}", model=Model(name="toy", checkpoint="/nowhere/toy.ckpt"))
    with pytest.raises(ModelError, match=r"there is no file /nowhere/toy\.ckpt"):
        list(engine.start(made))


def test_the_nodes_own_copy_of_a_model_is_taken(engine, job, unique, world):
    import sep_models

    own = world[1].parent / "sep" / "models" / "scnet-small"
    own.mkdir(parents=True, exist_ok=True)
    (own / sep_models.WEIGHTS).touch()
    made = job(f"ok-{unique}", model=Model(name="scnet-small", folder="/elsewhere/scnet-small"))
    assert isinstance(list(engine.start(made))[-1], Done)


def test_what_the_runtime_writes_there_is_heard_here(cluster, engine, job, unique, logged):
    before = len(logged)
    list(engine.start(job(f"ok-{unique}-noisy")))
    assert (engine.name, "noisy") in logged[before:]


def test_a_process_is_in_one_cluster_at_a_time(cluster, nodes, engine, job, unique):
    with pytest.raises(EngineError, match="already"), Cluster(ClusterWish(address=nodes.address)):
        pass
    assert isinstance(list(engine.start(job(f"ok-{unique}")))[-1], Done)
