"""Clusters of several nodes on this machine; their GPUs need no hardware, nor does the runtime."""

import os
import secrets
from functools import partial
from importlib.util import find_spec

import driver
import pytest

from sep_launcher.engines.ray import access, guard

# A dead node is missed soon: Ray's own pace is three checks of ten seconds.
SOON = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}
STORE = 75 << 20


@pytest.fixture(scope="session")
def ray():
    """Ray, told what it must know before it is imported."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install '.[ray]'")
    token = access.token_file()
    mp = pytest.MonkeyPatch()
    for name, value in access.for_own(token).items():
        mp.setenv(name, value)
    (token.parent / "ray").mkdir()
    mp.setenv("RAY_TMPDIR", str(token.parent))  # `ray` in it is what /tmp/ray would be
    for name in access.NOT_OWN:
        mp.delenv(name, raising=False)
    import ray

    yield ray
    mp.undo()
    guard.end(token, os.getpid())


@pytest.fixture(scope="session")
def world(tmp_path_factory, fake):
    """What processes on all nodes have in their environment, and the folder of their notes."""
    folder = tmp_path_factory.mktemp("world")
    notes = folder / "notes"
    notes.mkdir()
    given = {
        "HOME": str(folder),
        "SEP_HOME": str(folder / "sep"),
        "SEP_RUNTIME_PYTHON": fake.installed(folder),
        "SEP_FAKE_NOTES": str(notes),
    }
    return given, notes


class Nodes:
    """A head without room for workers, and nodes that come and go."""

    def __init__(self, ray, given):
        from ray.cluster_utils import Cluster

        self._given = given
        self.every = {}  # by id, those that are gone, too
        self.cluster = Cluster()
        self.cluster.add_node(
            num_cpus=0,
            include_dashboard=False,
            object_store_memory=STORE,
            _system_config=SOON,
        )

    @property
    def address(self):
        return self.cluster.address

    def add(self, cpus=1, gpus=0, **more):
        env = {**os.environ, **self._given, **more}
        made = self.cluster.add_node(
            num_cpus=cpus, num_gpus=gpus, object_store_memory=STORE, env_vars=env
        )
        self.every[made.node_id] = made
        return made

    def remove(self, node):
        self.cluster.remove_node(node, allow_graceful=False)

    def raylet(self, node):
        return node.all_processes["raylet"][0].process.pid


@pytest.fixture(scope="module")
def nodes(ray, world):
    made = Nodes(ray, world[0])
    yield made
    made.cluster.shutdown()


@pytest.fixture
def notes(world):
    return world[1]


@pytest.fixture
def unique():
    """A word that no other test's tracks have in their names."""
    return secrets.token_hex(3)


@pytest.fixture
def job(tmp_path):
    """Makes the Plan of a driver over tracks of these names."""

    return partial(driver.plan, tmp_path / "out")
