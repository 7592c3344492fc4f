"""The bundled model through Ray gives the samples that it gives without."""

import sys
from pathlib import Path

import pytest
import soundfile
from driver import plan

from sep_launcher.engines.ray.cluster import Cluster
from sep_launcher.machine import probe
from sep_launcher.planning.cluster import ClusterWish
from sep_protocol import Done

pytestmark = pytest.mark.ray
GROOVE = Path(__file__).parents[2] / "examples" / "groove.flac"


def test_stems_are_equal_to_those_of_a_plain_run(nodes, sep, world, tmp_path):
    threads = round(probe.cores())
    # One home: what was chosen by measurement for the first is taken by the second.
    given = {**world[0], "SEP_RUNTIME_PYTHON": sys.executable}
    sep("run", GROOVE, "-o", "plain", "--device", "cpu", "--engine", "native", env=given)
    nodes.add(cpus=threads, **given)
    with Cluster(ClusterWish(address=nodes.address, cpus=threads)) as cluster:
        (engine,) = cluster.engines()
        made = plan(tmp_path / "ray", "groove", folder=GROOVE.parent, ending=".flac")
        assert isinstance(list(engine.start(made))[-1], Done)
    names = sorted(each.name for each in (tmp_path / "ray" / "groove").glob("*.wav"))
    assert len(names) == 5
    for name in names:
        plain, _ = soundfile.read(tmp_path / "plain" / "groove" / name, dtype="int32")
        other, _ = soundfile.read(tmp_path / "ray" / "groove" / name, dtype="int32")
        assert (plain == other).all(), name
