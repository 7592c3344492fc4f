"""Clusters that sep starts are nobody else's; those of others must have a token. Real processes."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import psutil
import pytest
from waiting import gone, until

pytestmark = pytest.mark.ray

# Starts a cluster, says what it is, and does what the line on its stdin says.
OWN = """
import json, os, sys
from pathlib import Path, PurePath
from sep_launcher.engines.ray.cluster import Cluster
from sep_launcher.planning.cluster import ClusterWish
from sep_protocol import dump_event
sys.path.insert(0, sys.argv[1])
with Cluster(ClusterWish(workers=1)) as cluster:
    engine = cluster.engines()[0]
    place = engine.ready()
    import ray
    told = {"address": ray.get_runtime_context().gcs_address, "place": place, "name": engine.name,
            "path": os.environ["RAY_AUTH_TOKEN_PATH"]}
    print(json.dumps(told), flush=True)
    if sys.argv[2:]:
        from driver import plan
        for event in engine.start(plan(*sys.argv[2:])):
            print(dump_event(event), flush=True)
    sys.stdin.readline()
print("left", flush=True)
"""
# Connects, and says what came of it.
JOIN = """
import sys
from sep_launcher.engines.ray.cluster import Cluster
from sep_launcher.planning.cluster import ClusterWish
from sep_protocol.errors import SepError
try:
    with Cluster(ClusterWish(address=sys.argv[1], insecure="insecure" in sys.argv[2:])) as cluster:
        print("in", len(cluster.engines()), flush=True)
except SepError as fault:
    print(fault, flush=True)
    print(fault.hint, flush=True)
    sys.exit(fault.code)
"""
# The command that follows has a network whose only way out is a cable to nobody.
ALONE = (
    *("unshare", "--net", "sh", "-euc"),
    """
ip link set lo up
ip link add out type veth peer name end
for each in out end; do ip link set "$each" addrgenmode none up; done
ip addr add 192.0.2.1/24 dev out
ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:01 dev out
ip route add default via 192.0.2.2
exec "$@"
""",
    "sh",
)
HERE = str(Path(__file__).parent)


@pytest.fixture
def environment(world, tmp_path):
    """The environment of a person with an empty home and no words on Ray."""
    if find_spec("ray") is None:  # imported here it would never hear of the other tests' token
        pytest.skip("Ray is not installed: pip install '.[ray]'")
    found = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    temporary = tmp_path / "t"
    temporary.mkdir()
    return {**found, **world[0], "TMPDIR": str(temporary)}


@pytest.fixture
def own(environment):
    """Starts a cluster in a process of its own: (process, what it told)."""
    begun = []

    def start(*tracks, before=()):
        process = subprocess.Popen(
            [*before, sys.executable, "-c", OWN, HERE, *map(str, tracks)],
            env=environment,
            stdin=-1,
            stdout=-1,
            stderr=-1,
            text=True,
        )
        begun.append(process)
        line = process.stdout.readline()
        assert line, process.stderr.read()
        return process, json.loads(line)

    yield start
    for process in begun:
        with process:
            process.kill()


def family(pid):
    """All processes below one, which outlive it where nothing ends them."""
    return psutil.Process(pid).children(recursive=True)


def connections(process):
    with suppress(psutil.NoSuchProcess):
        return process.net_connections()
    return []


def test_nothing_listens_but_on_loopback_and_the_token_is_mine(own):
    process, told = own()
    every = [psutil.Process(process.pid), *family(process.pid)]
    names = [each.name() for each in every]
    assert "raylet" in names
    found = list(chain.from_iterable(map(connections, every)))
    listening = {each.laddr.ip for each in found if each.status == psutil.CONN_LISTEN}
    assert "::ffff:127.0.0.1" in listening
    remote = {each.raddr.ip for each in found if each.raddr}
    assert listening | remote <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    token = Path(told["path"])
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.parent.stat().st_mode & 0o777 == 0o700
    secret = token.read_text()
    assert not any(secret in each for each in told.values())
    for each in every:
        with suppress(psutil.NoSuchProcess):  # workers that nobody needed yet end
            assert secret not in " ".join(each.cmdline())
            assert secret not in str(each.environ())
    for log in token.parent.rglob("*.log"):
        assert secret not in log.read_text(errors="replace"), log
    out, err = process.communicate("\n", timeout=60)
    assert out == "left\n"
    assert err == ""
    for each in every:
        gone(each.pid, within=10)
    assert not token.parent.exists()


@pytest.mark.root
def test_nobody_outside_is_asked_for_anything(own, tmp_path):
    """In a network of its own, which counts what leaves."""
    if os.geteuid():
        pytest.skip("only root can make a network")
    process, _ = own(tmp_path / "out", "ok-1", before=ALONE)
    until(lambda: '"done"' in process.stdout.readline())
    net = Path(f"/proc/{process.pid}/net/dev").read_text()
    sent = {line.split()[0]: int(line.split()[10]) for line in net.splitlines()[2:]}
    assert sent["lo:"] > 0
    assert sent["out:"] == 0
    process.communicate("\n", timeout=60)
    assert process.returncode == 0


def test_the_driver_is_killed_and_nothing_is_left(own, environment, tmp_path):
    process, told = own(tmp_path / "out", "hang-driver")
    until(lambda: re.search("separate", process.stdout.readline()))
    every = {each: each.name() for each in family(process.pid)}
    assert len(every) > 5
    begun = time.monotonic()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    ends = {}
    for each, name in every.items():
        gone(each.pid, within=25)
        ends[name] = round(time.monotonic() - begun, 2)
    print(f"driver killed: {ends}")
    until(lambda: not Path(told["path"]).parent.exists())


def test_a_foreign_cluster_needs_its_token(own, environment, tmp_path):
    _, told = own()
    token = {"RAY_AUTH_TOKEN_PATH": told["path"]}

    def join(**given):
        done = subprocess.run(
            [sys.executable, "-c", JOIN, told["address"]],
            # As the cluster's own node has it: it is told to be of this machine alone.
            env={**environment, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", **given},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    code, told_ = join()
    assert code == 11
    assert "asks for a token, and none is here" in told_
    assert "RAY_AUTH_TOKEN_PATH" in told_
    other = tmp_path / "other"
    other.write_text("b" * 64)
    code, told_ = join(RAY_AUTH_TOKEN_PATH=str(other))
    assert code == 11
    assert "has another token" in told_
    code, told_ = join(**token)
    assert (code, told_) == (0, "in 1\n")


@pytest.fixture
def short():
    """A folder whose path leaves room for Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        yield folder


def test_a_cluster_without_a_token_is_refused_unless_it_is_wished(environment, short):
    given = {
        **environment,
        "RAY_AUTH_MODE": "disabled",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    start = (
        "import ray, sys; ray.init(address='local', num_cpus=2, include_dashboard=False, "
        f"_temp_dir={short!r}, configure_logging=False); "
        "print(ray.get_runtime_context().gcs_address, flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", start], env=given, stdin=-1, stdout=-1, stderr=-1, text=True
    ) as process:
        address = process.stdout.readline().strip()
        ends = []
        for words in ((), ("insecure",)):
            done = subprocess.run(
                [sys.executable, "-c", JOIN, address, *words],
                env={**environment, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            ends.append((done.returncode, done.stdout.splitlines()))
        process.communicate("\n", timeout=60)
    (refused, why), (taken, what) = ends
    assert refused == 11
    assert "has no token: whoever reaches it runs code there" in why[0]
    assert "--insecure-cluster" in why[1]
    assert (taken, what) == (0, ["in 1"])


def test_nobody_answers(environment):
    done = subprocess.run(
        [sys.executable, "-c", JOIN, "127.0.0.1:9"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 11
    assert "no Ray cluster answers at 127.0.0.1:9" in done.stdout
