"""What can fail, for real: the exit code, the message, the hint, and nothing left behind."""

import io
import json
import os
import socket
import socketserver
import subprocess
import tarfile
import threading
import time
from contextlib import contextmanager

import pytest

SMI = "NVIDIA GeForce RTX 3080, 580.65.06, 8.6, 10240, 0, GPU-aa"


@pytest.fixture
def gpu(tmp_path):
    """An nvidia-smi that tells of a GPU which is not there: the facts, not the hardware."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\necho '{SMI}'\n")
    (folder / "nvidia-smi").chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


@contextmanager
def image(dockerd, name, dockerfile):
    """An image for a moment."""
    dockerd("build", "-q", "-t", name, "-", input=dockerfile)
    try:
        yield
    finally:
        dockerd("rmi", "-f", name)


def cuda(**labels):
    """The real image under the label of CUDA: what a daemon without a GPU would be given."""
    from sep_protocol.version import PROTOCOL, __version__

    told = {"variant": "cuda", "version": __version__, "protocol": PROTOCOL, "wheel": "x"} | labels
    words = " ".join(f"dev.sep.{name}={value}" for name, value in told.items())
    return f"FROM sep-audio:cpu\nLABEL {words}\n"


def test_no_daemon(sep, clip, tmp_path):
    _, told = sep(
        "run",
        clip,
        "--engine",
        "container",
        code=11,
        env={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"},
    )
    assert f"unix://{tmp_path}/none.sock does not answer (No such file or directory)" in told
    assert "--engine native" in told
    assert "[docker-host-silent]" in told


def test_a_stale_socket(sep, clip, tmp_path):
    path = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
    _, told = sep(
        "run", clip, "--engine", "container", code=11, env={"DOCKER_HOST": f"unix://{path}"}
    )
    assert "Connection refused" in told


def test_no_permission(start, clip, dockerd):
    """A socket of somebody else; root without the power to pass over permissions."""
    before = dockerd.socket.stat()
    os.chown(dockerd.socket, 12345, 12345)
    dockerd.socket.chmod(0o600)
    prefix = (
        "setpriv",
        "--bounding-set=-dac_override,-dac_read_search",
        "--inh-caps=-dac_override,-dac_read_search",
    )
    try:
        with start("run", clip, "--engine", "container", prefix=prefix) as process:
            _, told = process.communicate()
    finally:
        os.chown(dockerd.socket, before.st_uid, before.st_gid)
        dockerd.socket.chmod(before.st_mode)
    assert process.returncode == 11
    assert f"no permission to use {dockerd.host}" in told
    assert "[docker-permission]" in told


def test_a_context_that_does_not_exist(sep, clip, dockerd):
    _, told = sep(
        "run",
        clip,
        "--engine",
        "container",
        code=11,
        env={"DOCKER_HOST": "", "DOCKER_CONTEXT": "nope"},
    )
    assert "there is no Docker context called 'nope'" in told
    assert "docker context ls" in told
    assert "[docker-context-unknown]" in told


def test_a_context_is_followed(sep, clip, dockerd, tmp_path):
    """What `docker context use` chose, without DOCKER_HOST."""
    config = {"DOCKER_CONFIG": str(tmp_path / "config")}
    env = {**os.environ, **config}
    subprocess.run(
        ["docker", "context", "create", "mine", "--docker", f"host={dockerd.host}"],
        env=env,
        check=True,
        capture_output=True,
    )
    subprocess.run(["docker", "context", "use", "mine"], env=env, check=True, capture_output=True)
    sep("run", clip, "--engine", "container", env={**config, "DOCKER_HOST": ""})


def test_a_daemon_on_another_machine(sep, clip):
    _, told = sep(
        "run", clip, "--engine", "container", code=10, env={"DOCKER_HOST": "tcp://192.0.2.1:2375"}
    )
    assert "on another machine and cannot see these files" in told
    assert "[docker-remote]" in told


class _Pipe(socketserver.BaseRequestHandler):
    """Passes bytes between a client and the daemon, changed on their way."""

    def handle(self):
        with socket.socket(socket.AF_UNIX) as up:
            up.connect(self.server.daemon_socket)
            back = threading.Thread(target=self._copy, args=(up, self.request, bytes))
            back.start()
            self._copy(self.request, up, self.server.change)
            back.join()

    @staticmethod
    def _copy(source, target, change):
        try:
            while data := source.recv(1 << 16):
                target.sendall(change(data))
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@contextmanager
def proxy(dockerd, change, address=("127.0.0.1", 0)):
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(address, _Pipe) as server:
        server.daemon_socket = str(dockerd.socket)
        server.change = change
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_daemon_that_does_not_see_our_files(sep, clip, dockerd, sep_home, seen):
    """One that answers on this host and lives elsewhere: its own /cache has no such job."""
    jobs = f'"Source": "{sep_home}/cache'.encode()
    elsewhere = jobs.replace(b"/cache", b"/cachf")
    with proxy(dockerd, lambda data: data.replace(jobs, elsewhere)) as host:
        _, told = sep("run", clip, "--engine", "container", code=11, env={"DOCKER_HOST": host})
    assert "does not see this computer's files" in told
    assert "[docker-sees-other-files]" in told
    seen.nothing_left()


def test_a_tcp_daemon_of_this_host_does(sep, clip, dockerd):
    with proxy(dockerd, bytes) as host:
        sep("run", clip, "--engine", "container", env={"DOCKER_HOST": host})


def test_no_image(sep, clip, gpu, dockerd, sep_home, seen):
    _, told = sep("run", clip, "--engine", "container", "--device", "cuda", code=12, env=gpu)
    assert "there is no image for cuda" in told
    assert "sep setup --engine container" in told
    assert "[image-missing]" in told
    _, told = sep(
        "run",
        clip,
        "--engine",
        "container",
        "--device",
        "cuda",
        "--offline",
        "--yes",
        code=12,
        env=gpu,
    )
    seen.nothing_left()


def test_a_stale_image(sep, clip, gpu, dockerd):
    """Of another version, behind the back of the probe: the tag moved, the labels did not."""
    with image(dockerd, "sep-test:stale", cuda(protocol="0")):
        _, told = sep("run", clip, "--engine", "container", "--device", "cuda", code=12, env=gpu)
    assert "protocol 0" in told
    assert "[image-stale]" in told
    assert "run: sep setup --engine container" in told


def test_an_image_for_another_processor(sep, clip, gpu, dockerd):
    from sep_protocol.version import PROTOCOL, __version__

    config = {
        "architecture": "s390x",
        "os": "linux",
        "config": {
            "Labels": {
                "dev.sep.variant": "cuda",
                "dev.sep.version": __version__,
                "dev.sep.protocol": str(PROTOCOL),
                "dev.sep.wheel": "x",
            }
        },
        "rootfs": {"type": "layers", "diff_ids": []},
    }
    files = {
        "config.json": json.dumps(config).encode(),
        "manifest.json": json.dumps(
            [{"Config": "config.json", "RepoTags": ["sep-test:other"], "Layers": []}]
        ).encode(),
    }
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w") as packed:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            packed.addfile(entry, io.BytesIO(data))
    subprocess.run(
        ["docker", "-H", dockerd.host, "load"],
        input=body.getvalue(),
        check=True,
        capture_output=True,
    )
    try:
        _, told = sep("run", clip, "--engine", "container", "--device", "cuda", code=12, env=gpu)
    finally:
        dockerd("rmi", "-f", "sep-test:other")
    assert "is for s390x, this engine runs" in told
    assert "[image-for-another-processor]" in told


def test_the_toolkit_is_missing_and_auto_goes_on(sep, clip, gpu, dockerd, sep_home, tmp_path, seen):
    """The daemon's authentic words, for it has no such toolkit."""
    with image(dockerd, "sep-test:cuda", cuda()):
        out, told = sep("run", clip, "--engine", "container", "--json", env=gpu)
        found = json.loads(out)
        assert found["fallbacks"][0]["was"] == "container cuda"
        assert found["fallbacks"][0]["now"] == "container cpu"
        assert "could not select device driver" in told
        assert "nvidia-ctk runtime configure" in told
        assert found["findings"][0]["id"] == "toolkit-missing"
        assert found["device"]["device"] == "cpu"
        seen.nothing_left(tmp_path)
        # A device that was named is never replaced, nor with --no-fallback.
        for options in (["--device", "cuda"], ["--no-fallback"]):
            _, told = sep(
                "run", clip, "--engine", "container", *options, "-o", "other", code=13, env=gpu
            )
            assert "could not select device driver" in told
            assert not (tmp_path / "other").exists()
    seen.nothing_left(tmp_path)


def test_a_daemon_that_ignores_device_requests_is_unmasked(sep, clip, gpu, dockerd, tmp_path):
    """As Podman's does: it starts the container, without the GPU, and says nothing."""
    with (
        image(dockerd, "sep-test:cuda", cuda()),
        proxy(dockerd, lambda data: data.replace(b'"DeviceRequests"', b'"DeviceRequestZ"')) as host,
    ):
        env = {**gpu, "DOCKER_HOST": host}
        out, told = sep("run", clip, "--engine", "container", "--json", env=env)
        assert "cuda was expected, cpu is used" in told
        assert json.loads(out)["device"]["device"] == "cpu"
        _, told = sep(
            "run", clip, "--engine", "container", "--device", "cuda", "-o", "b", code=13, env=env
        )
        assert "cuda" in told
        assert not (tmp_path / "b").exists()


def test_out_of_memory_under_a_real_limit(sep, clip, dockerd, sep_home, tmp_path):
    _, told = sep("run", clip, "--engine", "container", "--memory", "200m", code=14)
    assert "the container ran out of memory: its limit is 0.2 GiB" in told
    assert "--memory raises the limit" in told
    assert "[container-memory]" in told
    assert dockerd.ours() == []
    assert not list(tmp_path.rglob("*.wav"))


def test_a_full_disk(sep, song, dockerd, sep_home, tmp_path, seen):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", small], check=True)
    try:
        _, told = sep("run", song, "--engine", "container", "-o", small, code=1)
        assert "the disk is full" in told
        assert "[output-disk-full]" in told
        assert f"{small}/song" in told
        assert not list(small.iterdir())
    finally:
        subprocess.run(["umount", small], check=True)
    seen.nothing_left()


def test_a_runtime_that_crashes(start, song, dockerd, tmp_path, seen):
    with start("run", song, "--engine", "container") as process:
        seen.until(lambda: seen.separating(process))
        crash = "kill -SEGV $(cat /proc/1/task/1/children)"
        dockerd("exec", dockerd.ours()[0], "sh", "-c", crash)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 15, told
    assert "the runtime ended with code 139" in told
    seen.nothing_left(tmp_path)


def test_a_kill_is_no_lack_of_memory(start, song, dockerd, tmp_path, seen):
    with start("run", song, "--engine", "container", "--memory", "4g") as process:
        seen.until(lambda: seen.separating(process))
        dockerd("kill", "--signal", "KILL", dockerd.ours()[0])
        _, told = process.communicate(timeout=60)
    assert process.returncode == 15, told
    assert "was ended by signal 9" in told
    assert "may have run out of memory" in told
    assert "GiB" not in told.partition("error: ")[2]
    seen.nothing_left(tmp_path)


def test_the_daemon_is_killed_in_the_middle(start, sep, song, clip, dockerd, tmp_path, seen):
    with start("run", song, "--engine", "container") as process:
        seen.until(lambda: seen.separating(process))
        dockerd.kill()
        begun = time.monotonic()
        _, told = process.communicate(timeout=90)
    assert process.returncode == 11, told
    assert "the Docker daemon does not answer" in told
    assert "the next run removes it" in told
    assert "[docker-host-silent]" in told
    assert time.monotonic() - begun < 60
    assert not (tmp_path / "separated" / "song").exists()
    dockerd.start()
    # What is left, the next run sweeps: the container, and hidden folders in the same place.
    sep("run", clip, "--engine", "container")
    assert dockerd.ours() == []
    assert [path.name for path in (tmp_path / "separated").iterdir()] == ["golden"]
