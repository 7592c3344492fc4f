"""Workers of a Ray cluster do Jobs, each on its own node and GPU, with its own threads."""

import pytest

from sep_launcher.engines.ray.cluster import Cluster, ClusterWish
from sep_protocol import DeviceChosen, Done, Hello, TrackDone

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def cluster(nodes):
    for _ in range(3):
        nodes.add(cpus=4, gpus=2)
    with Cluster(ClusterWish(address=nodes.address)) as made:
        yield made


def test_a_worker_per_gpu_and_each_says_another(cluster, job, tmp_path):
    engines = cluster.engines()
    assert len(engines) == 6
    places = [each.ready() for each in engines]
    assert sorted(map(places.count, set(places))) == [2, 2, 2]
    seen = []
    for index, (engine, place) in enumerate(zip(engines, places, strict=True)):
        events = list(engine.start(job(f"ok-{index}")))
        assert [type(events[0]), type(events[-1])] == [Hello, Done]
        device = next(each for each in events if isinstance(each, DeviceChosen))
        assert device.device == "cuda:0"
        seen.append((place, device.reason))
        assert "OMP_NUM_THREADS=2" in device.reason
        done = next(each for each in events if isinstance(each, TrackDone))
        assert (tmp_path / "out" / f"ok-{index}" / "sep.json").is_file(), done
    assert len(set(seen)) == 6
