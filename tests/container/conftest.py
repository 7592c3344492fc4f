"""A real Docker daemon of the tests' own, and an image built by `sep setup`.

SEP_TEST_DOCKER=1 asks for it (root, dockerd and debootstrap are needed); without it these tests
say that they are skipped. SEP_TEST_ROOT names a tree that debootstrap has made already.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASE = "sep-test-base:bookworm"


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.container)
            item.add_marker(pytest.mark.timeout(600))
            if "SEP_TEST_DOCKER" not in os.environ:
                item.add_marker(pytest.mark.skip(reason="SEP_TEST_DOCKER is not set"))


def call(*command, **options):
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout.strip()


class Dockerd:
    """A daemon with its own data, socket and process."""

    def __init__(self, folder):
        self.folder = folder
        self.socket = folder / "docker.sock"
        self.host = f"unix://{self.socket}"
        self.process = None

    def start(self):
        command = ["dockerd", "--pidfile", self.folder / "pid", "-H", self.host]
        command += ["--data-root", self.folder / "data", "--exec-root", self.folder / "exec"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        for _ in range(300):
            time.sleep(0.1)
            if (
                subprocess.run(
                    ["docker", "-H", self.host, "info"], capture_output=True, check=False
                ).returncode
                == 0
            ):
                return
            assert self.process.poll() is None, (self.folder / "log").read_text()[-3000:]
        raise AssertionError("dockerd does not answer")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        # Its containerd dies with it; where nobody reaps that, the next one takes it for alive.
        for name in ("pid", "exec/containerd/containerd.pid"):
            (self.folder / name).unlink(missing_ok=True)

    def stop(self):
        self.process.terminate()
        self.process.wait(60)
        subprocess.run(["pkill", "-9", "-f", str(self.folder)], check=False)
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in reversed([each for each in mounts if each.startswith(str(self.folder))]):
            subprocess.run(["umount", "-l", mount], check=False)

    def __call__(self, *arguments, **options):
        return call("docker", "-H", self.host, *arguments, **options)

    def ours(self):
        """Containers of sep, running or not."""
        return self("ps", "-aq", "--filter", "label=dev.sep.job").split()


@pytest.fixture(scope="session")
def dockerd():
    # Short: a Unix socket's path has 108 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="sep-docker-"))
    daemon = Dockerd(folder)
    daemon.start()
    yield daemon
    daemon.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def base(dockerd, tmp_path_factory):
    """Debian with Python, in the place of the image that a registry would give."""
    tree = os.environ.get("SEP_TEST_ROOT")
    made = None
    if not tree:
        made = tree = tmp_path_factory.mktemp("base") / "root"
        call(
            "debootstrap",
            "--variant=minbase",
            "--include=python3,python3-venv,ca-certificates",
            "bookworm",
            tree,
        )
    with subprocess.Popen(["tar", "-C", tree, "-c", "."], stdout=subprocess.PIPE) as packed:
        dockerd("import", "-", BASE, stdin=packed.stdout)
    if made:
        shutil.rmtree(made)
    return BASE


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory):
    """Every wheel of the image, as one carries them to a machine without a network.

    By the same line that an environment's come by: tests/e2e/test_setup.py has that.
    """
    folder = tmp_path_factory.mktemp("house")
    told = call(sys.executable, "-m", "pip", "config", "list")
    index = ["--torch-index", "default"] if "find-links" in told else []
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "sep_launcher", "setup"),
            *("--wheel", folder, "--torch", "cpu", *index),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    line = shlex.split(done.stderr.splitlines()[-1])
    call(sys.executable, *line[1:], "-q")
    return folder


@pytest.fixture(scope="session")
def sep_home(tmp_path_factory):
    return tmp_path_factory.mktemp("sep-home")


@pytest.fixture(scope="session")
def environment(dockerd, sep_home):
    """The variables of every `sep` in these tests."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "SEP_"))}
    return {**kept, "DOCKER_HOST": dockerd.host, "SEP_HOME": str(sep_home)}


@pytest.fixture(scope="session")
def built(dockerd, base, wheelhouse, environment, tmp_path_factory):
    """What `sep setup --engine container` printed when it built the image."""
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-m",
            "sep_launcher",
            "setup",
            "--engine",
            "container",
            "--yes",
            "--variant",
            "cpu",
            "--base",
            base,
            "--wheelhouse",
            wheelhouse,
            "--offline",
        ],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path_factory.mktemp("cwd"),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture
def start(built, environment, tmp_path):
    """Start `sep` in an empty folder; returns the process."""

    def run(*arguments, env=(), prefix=(), **options):
        command = [*prefix, sys.executable, "-P", "-m", "sep_launcher", *arguments]
        return subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env={**environment, **dict(env)},
            cwd=options.pop("cwd", tmp_path),
            **options,
        )

    return run


@pytest.fixture
def sep(start):
    """Run `sep` to its end; returns (stdout, stderr)."""

    def run(*arguments, code=0, **options):
        with start(*arguments, **options) as process:
            out, err = process.communicate(timeout=300)
        assert process.returncode == code, f"{process.returncode}: {err}{out}"
        return out, err

    return run


@pytest.fixture(scope="session")
def song(tmp_path_factory):
    """Five minutes of noise: long enough to do things in the middle of it."""
    import numpy as np
    import soundfile

    path = tmp_path_factory.mktemp("song") / "song.wav"
    drawn = np.random.default_rng(1).standard_normal((300 * 44100, 2), np.float32) * 0.1
    soundfile.write(path, drawn, 44100, "PCM_16")
    return path


@pytest.fixture
def clip():
    return ROOT / "models" / "sep_models" / "golden.flac"


class Seen:
    """What is going on in the daemon and on the disk."""

    def __init__(self, dockerd, sep_home):
        self.dockerd = dockerd
        self.sep_home = sep_home

    def until(self, condition, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not come about"
            time.sleep(0.05)

    def separating(self, process):
        """Say whether a container has written something, so that a kill hits the work's middle."""
        assert process.poll() is None, process.communicate()
        listed = self.dockerd("ps", "-q", "--filter", "label=dev.sep.job").split()
        for container in listed:
            done = subprocess.run(
                ["docker", "-H", self.dockerd.host, "exec", container, "ls", "-A", "/app/out/0"],
                capture_output=True,
                text=True,
                check=False,
            )
            if ".sep-" in done.stdout:
                return True
        return False

    def nothing_left(self, out=None):
        assert self.dockerd.ours() == []
        jobs = self.sep_home / "cache" / "sep" / "jobs"
        assert not jobs.exists() or not list(jobs.iterdir())
        if out is not None:
            assert not [path for path in out.rglob("*") if path.name.startswith(".")]


@pytest.fixture(scope="session")
def seen(dockerd, sep_home):
    return Seen(dockerd, sep_home)
