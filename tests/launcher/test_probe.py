"""Facts: parsed from what the tools print, never an exception."""

import http.server
import json
import socketserver
import sys
import threading
from dataclasses import replace

import pytest

from sep_launcher.machine import docker_probe, probe
from sep_launcher.machine.host import Host
from sep_protocol.version import PROTOCOL, __version__

SMI = (
    "NVIDIA GeForce RTX 3080, 550.144.03, 8.6, 10240, 0, GPU-aa01\n"
    "Tesla V100, 550.144.03, 7.0, 16384, 1, GPU-bb02\n"
)
INFO = {"ServerVersion": "28.2.2", "MemTotal": 25_000_000_000, "SecurityOptions": ["name=rootless"]}
PODMAN = {"Components": [{"Name": "Podman Engine", "Version": "4.9.3"}]}
OURS = {"dev.sep.version": __version__, "dev.sep.protocol": str(PROTOCOL)}
IMAGES = [
    {"Labels": {"dev.sep.variant": "cuda", **OURS}},
    {"Labels": {"dev.sep.variant": "cpu", **OURS}},
    {"Labels": {"dev.sep.variant": "cpu", **OURS, "dev.sep.version": "0.0.1"}},
    {},
]


def test_nvidia_smi_is_parsed():
    first, second = probe.parse_smi(SMI)
    assert (first.name, first.driver, first.capability) == (
        "NVIDIA GeForce RTX 3080",
        "550.144.03",
        8.6,
    )
    assert second.memory == 16 << 30


@pytest.mark.parametrize(
    ("visible", "capabilities"),
    [
        (None, [8.6, 7.0]),
        ("1", [7.0]),
        ("1,0", [7.0, 8.6]),
        ("GPU-bb", [7.0]),
        ("0,7,1", [8.6]),  # the driver stops at a name that does not exist
        ("MIG-1234", [8.6, 7.0]),
    ],
)
def test_cuda_visible_devices(visible, capabilities):
    assert [gpu.capability for gpu in probe.parse_smi(SMI, visible)] == capabilities


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver",
        "a,b,c,d,e,f",
    ],
)
def test_nvidia_smi_that_fails_is_no_gpu(text):
    assert probe.parse_smi(text) == ()


def test_a_broken_nvidia_smi_on_the_path(tmp_path, monkeypatch):
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho Failed to initialize NVML; exit 18\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert probe.gpus() == ()


def test_a_real_nvidia_smi_process(tmp_path, monkeypatch):
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\nprintf '{SMI}'\n".replace("\n'", "'").replace("GB\n", "GB\\n"))
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert len(probe.gpus()) == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert probe.gpus() == ()


def test_cgroup_quota_bounds_the_cores(tmp_path):
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert probe.cores(tmp_path) == 0.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert probe.cores(tmp_path) >= 1


def test_cgroup_v1_quota(tmp_path):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("150000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert probe.cores(tmp_path) == min(1.5, probe.cores(tmp_path / "none"))


def test_memory_limit(tmp_path):
    (tmp_path / "memory.max").write_text("1000000\n")
    assert probe.memory(tmp_path) == 1_000_000


def test_this_machine_is_probed(home):
    host = probe.probe()
    assert isinstance(host, Host)
    assert host.cores > 0
    assert host.memory > 1 << 28
    assert host.native is not None
    assert host.native.python == sys.executable


def test_runtime_python_of_the_user_comes_first(home, monkeypatch):
    monkeypatch.setenv("SEP_RUNTIME_PYTHON", "/opt/mine/bin/python")
    assert probe.probe().native.python == "/opt/mine/bin/python"


def test_docker_facts():
    docker = docker_probe.facts("unix:///x", INFO, PODMAN, IMAGES)
    assert docker.podman
    assert docker.rootless
    assert docker.images == ("cpu", "cuda")
    assert docker.stale == ()  # there is one of this sep in its place
    assert docker_probe.facts("unix:///x", {}, {}, []).images == ()


@pytest.mark.parametrize("other", [{"dev.sep.version": "0.0.1"}, {"dev.sep.protocol": "0"}])
def test_an_image_of_another_sep_is_stale_not_missing(other):
    images = [{"Id": "sha256:1", "Labels": {"dev.sep.variant": "cpu", **OURS, **other}}]
    docker = docker_probe.facts("unix:///x", {}, {}, images)
    assert docker.images == ()
    (told,) = docker.stale
    assert next(iter(other.values())) in told


class _Daemon(http.server.BaseHTTPRequestHandler):
    """Answers of a daemon over a real socket."""

    def do_GET(self):
        answers = {"/info": INFO, "/version": {}, "/images/json": IMAGES}
        body = json.dumps(answers[self.path.partition("?")[0]]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

    def address_string(self):
        return "test"


def test_docker_over_a_socket(home, tmp_path, monkeypatch):
    path = tmp_path / "docker.sock"
    with socketserver.UnixStreamServer(str(path), _Daemon) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        docker = docker_probe.probe()
        server.shutdown()
    assert not docker.fault
    assert docker.version == "28.2.2"
    assert docker.images == ("cpu", "cuda")
    stale = docker_probe.probe()
    assert "does not answer" in stale.fault


def test_docker_on_another_machine_is_not_asked(home, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2376")
    assert docker_probe.probe().remote


def test_docker_context(home, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(home / ".docker"))
    monkeypatch.setenv("DOCKER_CONTEXT", "nope")
    assert "no Docker context called 'nope'" in docker_probe.probe().fault
    import hashlib

    folder = home / ".docker" / "contexts" / "meta" / hashlib.sha256(b"lab").hexdigest()
    folder.mkdir(parents=True)
    meta = {"Name": "lab", "Endpoints": {"docker": {"Host": "ssh://lab"}}}
    (folder / "meta.json").write_text(json.dumps(meta))
    (home / ".docker" / "config.json").write_text('{"currentContext": "lab"}')
    monkeypatch.delenv("DOCKER_CONTEXT")
    assert docker_probe.probe() == replace(
        docker_probe.probe(), endpoint="ssh://lab", remote=True, fault=""
    )


def test_a_socket_that_is_not_there_is_told(home, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{home}/none.sock")
    assert docker_probe.probe().fault
