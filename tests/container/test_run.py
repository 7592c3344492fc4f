"""Runs in a real container: the same stems, this host's paths, this user's files, nothing left."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

STEMS = ("kick", "snare", "toms", "hihat", "cymbals")
HELD = ("--engine", "container", "--json")


def test_the_stems_are_those_of_the_native_engine(sep, clip, tmp_path, dockerd, sep_home, seen):
    out, _ = sep("run", clip, *HELD, "-o", "contained", "--stems", "kick,snare", "--residual")
    sep("run", clip, "--engine", "native", "-o", "native", "--stems", "kick,snare", "--residual")
    found = json.loads(out)
    assert found["route"]["engine"] == "container"
    assert found["device"]["device"] == "cpu"
    mix, _ = soundfile.read(clip)
    for stem in ("kick", "snare", "residual"):
        one, _ = soundfile.read(tmp_path / "contained" / "golden" / f"{stem}.wav")
        two, _ = soundfile.read(tmp_path / "native" / "golden" / f"{stem}.wav")
        error = ((one - two) ** 2).sum()
        # 90 dB; where both tuned alike they are equal. A residual is next to nothing: of the mix.
        whole = mix if stem == "residual" else two
        assert error <= 1e-9 * (whole**2).sum(), stem
    seen.nothing_left(tmp_path)


def test_a_chain_is_that_of_the_native_engine(sep, clip, imported, tmp_path, sep_home, seen):
    """Models of the user's, each in a folder of its own, which are mounted beside each other."""
    shutil.copytree(imported, sep_home / "models", dirs_exist_ok=True)
    run = ("run", clip, "--from-mix", "toy-song", "-m", "toy-kit,toy-kit-2", "--weights", "2,1")
    run += ("--shifts", "2", "--keep-intermediate", "--bit-depth", "float", "--device", "cpu")
    found = json.loads(sep(*run, *HELD, "-o", "contained")[0])
    sep(*run, "--engine", "native", "-o", "native")
    assert found["route"]["engine"] == "container"
    assert [each["name"] for each in found["models"]] == ["toy-song", "toy-kit", "toy-kit-2"]
    song, total = soundfile.read(clip)[0], 0.0
    for path in sorted((tmp_path / "native" / "golden").glob("*.wav")):
        one, _ = soundfile.read(tmp_path / "contained" / "golden" / path.name)
        two, _ = soundfile.read(path)
        assert ((one - two) ** 2).sum() <= 1e-9 * (two**2).sum(), path.name
        total += one if path.stem in {*STEMS, "rest"} else 0.0
    assert np.abs(total - song).max() <= 10 ** (-90 / 20) * np.abs(song).max()
    again = json.loads(sep(*run, *HELD, "-o", "contained", "--resume")[0])
    assert again["tracks"][0]["resumed"]
    shutil.rmtree(sep_home / "models")
    seen.nothing_left(tmp_path)


def test_paths_of_every_kind(sep, clip, tmp_path, dockerd, sep_home, seen):
    """Folders, links, unicode, spaces, colons, commas and quotes; only host paths are seen."""
    names = [
        "plain/a.flac",
        "sp ace/b, c.flac",
        "co:lon/d.flac",
        "ünï/日本 🥁.flac",
        "q'\"uote/e.flac",
        "bytes/" + os.fsdecode(b"caf\xe9.flac"),
    ]
    for name in names:
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        shutil.copy(clip, tmp_path / "in" / name)
    (tmp_path / "link").symlink_to(tmp_path / "in" / "plain")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "o, ut").symlink_to(tmp_path / "elsewhere")
    out, told = sep("run", "in", "link/a.flac", *HELD, "-o", "o, ut", "--stems", "kick")
    document = json.loads(out)
    assert [each["done"] for each in document["tracks"]] == [True] * len(document["tracks"])
    assert len(document["tracks"]) >= len(names)
    assert "/app/" not in out
    assert "/app/" not in told
    for track in document["tracks"]:
        assert Path(track["mix"]).is_file()
        assert Path(track["stems"]["kick"]).is_file()
        report = Path(track["out"]) / "sep.json"
        assert "/app/" not in report.read_text()
        assert Path(json.loads(report.read_text())["mix"]["path"]).is_file()
    seen.nothing_left(tmp_path / "elsewhere")


def test_a_folder_that_docker_cannot_name_is_told(sep, clip, tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    shutil.copy(clip, folder)
    _, told = sep("run", folder, "--engine", "container", code=3)
    assert "caf\\udce9 is not named in UTF-8: Docker cannot mount it" in told


def test_a_batch_goes_on_past_a_bad_track_and_resumes(sep, clip, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(clip, tmp_path / "in" / "good.flac")
    (tmp_path / "in" / "bad.flac").write_bytes(b"fLaC nonsense")
    out, told = sep("run", "in", *HELD, "--stems", "kick", code=1)
    assert "bad.flac" in told
    tracks = {Path(each["mix"]).name: each for each in json.loads(out)["tracks"]}
    assert tracks["good.flac"]["done"]
    assert not tracks["bad.flac"]["done"]
    assert sorted(path.name for path in (tmp_path / "separated").iterdir()) == ["good"]
    (tmp_path / "in" / "bad.flac").unlink()
    out, _ = sep("run", "in", *HELD, "--stems", "kick", "--resume")
    assert json.loads(out)["tracks"][0]["resumed"]


def test_many_containers_are_kept_and_one_that_dies_is_replaced(
    start, clip, tmp_path, dockerd, seen
):
    """Three tracks, two workers: a container each, in which the model stays loaded."""
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(2).standard_normal((30 * 44100, 2)) * 0.1
    soundfile.write(tmp_path / "in" / "long.wav", noise, 44100)
    for name in ("a", "b"):
        shutil.copy(clip, tmp_path / "in" / f"{name}.flac")
    with start("run", "in", *HELD, "-j", "2", "--stems", "kick") as process:
        seen.until((tmp_path / "separated" / "a").exists)
        containers = dockerd("ps", "-q", "--filter", "label=dev.sep.job").split()
        assert len(containers) == 2
        seen.until(lambda: list((tmp_path / "separated").glob(".sep-*-*")))
        for each in containers:
            dockerd("kill", each)
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert [each["name"] for each in found["workers"]] == ["cpu-1", "cpu-2"]
    tried = {Path(each["mix"]).name: each["attempt"] for each in found["tracks"]}
    assert tried["long.wav"] == 2
    assert tried["a.flac"] == 1
    assert sorted(each.parent.name for each in tmp_path.rglob("kick.wav")) == ["a", "b", "long"]
    assert not list((tmp_path / "separated").glob(".sep-*-*"))
    seen.nothing_left()


def test_ctrl_c_ends_all_containers(start, song, tmp_path, dockerd, seen):
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        os.link(song, tmp_path / "in" / f"{name}.wav")
    with start("run", "in", "--engine", "container", "-j", "2") as process:
        seen.until(lambda: len(list((tmp_path / "separated").glob(".sep-*-*"))) == 2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert not list((tmp_path / "separated").glob(".sep-*-*"))
    seen.nothing_left()


def test_an_error_names_this_hosts_path(sep, clip, tmp_path):
    """What is in the way is found out inside, and told as it is called outside."""
    shutil.copy(clip, tmp_path / "a.flac")
    sep("run", "a.flac", *HELD, "--stems", "kick")
    out, told = sep("run", "a.flac", *HELD, "--stems", "snare", "--resume", code=1)
    assert f"{tmp_path}/separated/a has stems made with stems kick, not snare" in told
    assert "/app/" not in out + told


def test_the_files_are_the_users(start, clip, tmp_path, dockerd):
    """As another user: what is written belongs to them, and not to root."""
    owner = 12345
    folder = tmp_path / "theirs"
    folder.mkdir()
    shutil.copy(clip, folder / "a.flac")
    os.chown(folder, owner, owner)
    # Another user who may still reach root's Python and the daemon's socket.
    caps = "+dac_override,+dac_read_search"
    prefix = ("setpriv", f"--reuid={owner}", f"--regid={owner}", "--clear-groups")
    prefix += (f"--inh-caps={caps}", f"--ambient-caps={caps}")
    home = {"HOME": str(folder), "SEP_HOME": str(folder / "home")}
    with start("run", "a.flac", *HELD, cwd=folder, prefix=prefix, env=home) as process:
        _, err = process.communicate()
    assert process.returncode == 0, err
    written = [folder / "separated", *(folder / "separated").rglob("*")]
    assert len(written) == 1 + 1 + 6
    assert {(path.stat().st_uid, path.stat().st_gid) for path in written} == {(owner, owner)}


@pytest.mark.parametrize("presses", [1, 2], ids=["once", "twice"])
def test_ctrl_c(start, song, tmp_path, dockerd, sep_home, presses, seen):
    with start("run", song, "--engine", "container") as process:
        seen.until(lambda: seen.separating(process))
        process.send_signal(signal.SIGINT)
        if presses == 2:
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert time.monotonic() - begun < 20
    assert dockerd.ours() == []
    if presses == 1:  # the second one leaves no time to clean up; the next run sweeps
        seen.nothing_left(tmp_path)
        assert not (tmp_path / "separated").exists()


def test_sigterm(start, song, tmp_path, dockerd, sep_home, seen):
    with start("run", song, "--engine", "container") as process:
        seen.until(lambda: seen.separating(process))
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    seen.nothing_left(tmp_path)


def test_a_launcher_that_is_killed_takes_its_container_along(start, sep, song, clip, dockerd, seen):
    with start("run", song, "--engine", "container") as process:
        seen.until(lambda: seen.separating(process))
        process.kill()
        process.communicate()
    # Its standard input ended with the launcher, so the runtime stops by itself ...
    seen.until(lambda: dockerd("ps", "-q", "--filter", "label=dev.sep.job") == "")
    assert len(dockerd.ours()) == 1
    # ... and what is left of the container goes with the next run.
    sep("run", clip, "--engine", "container")
    assert dockerd.ours() == []


def test_containers_of_living_launchers_are_left_alone(start, sep, song, clip, dockerd, seen):
    with start("run", song, "--engine", "container") as process:
        seen.until(lambda: seen.separating(process))
        sep("run", clip, "--engine", "container", "-o", "second")
        assert process.poll() is None
        assert len(dockerd.ours()) == 1
        process.terminate()
        process.communicate(timeout=60)
    assert dockerd.ours() == []


def test_the_printed_command_does_the_job(sep, clip, tmp_path, dockerd, environment):
    (tmp_path / "mu, sic").mkdir()
    shutil.copy(clip, tmp_path / "mu, sic" / "it's.flac")
    words = ("run", "mu, sic/it's.flac", "--engine", "container", "--dry-run", "-o", "o ut")
    line, told = sep(*words)
    assert line == ""
    assert "mu, sic/it's.flac -> o ut/it's\n" in told
    line, told = sep(*words, "-v")
    assert "the job file is kept" in told
    assert not (tmp_path / "o ut").exists()
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    found = sorted(path.stem for path in (tmp_path / "o ut" / "it's").glob("*.wav"))
    assert found == sorted(STEMS)
    assert dockerd.ours() == []
    shutil.rmtree(Path(environment["SEP_HOME"]) / "cache" / "sep" / "jobs")


@pytest.fixture(scope="module")
def running(dockerd, built, environment, song, tmp_path_factory, seen):
    """A container in the middle of a run: (ask inside, its inspection)."""
    import sys

    folder = tmp_path_factory.mktemp("running")
    with subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            "sep_launcher",
            "run",
            song,
            "--engine",
            "container",
            "--memory",
            "3g",
        ],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        seen.until(lambda: seen.separating(process))
        (container,) = dockerd.ours()
        inspected = json.loads(dockerd("inspect", container))[0]

        def inside(command):
            done = subprocess.run(
                ["docker", "-H", dockerd.host, "exec", container, "sh", "-c", command],
                capture_output=True,
                text=True,
                check=False,
            )
            return (done.stdout + done.stderr).strip()

        yield inside, inspected
        process.terminate()
        process.communicate()


def test_what_docker_was_told(running):
    _, found = running
    host = found["HostConfig"]
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "32m"}}
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert set(host["SecurityOpt"]) == {"no-new-privileges:true", "label=disable"}
    assert host["PidsLimit"] == 512
    assert host["Init"] is True
    assert host["IpcMode"] == "private"
    assert host["AutoRemove"] is False
    assert host["Privileged"] is False
    assert host["Memory"] == 3 << 30
    assert found["Config"]["User"] == f"{os.getuid()}:{os.getgid()}"
    assert found["Config"]["Tty"] is False
    mounts = {each["Destination"]: each["RW"] for each in found["Mounts"]}
    assert mounts == {"/app/in/0": False, "/app/out/0": True, "/app/job": False}


# One question to the kernel per flag.
@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("ls /sys/class/net", "lo"),  # --network none
        ("touch /x 2>&1 | grep -o Read-only", "Read-only"),  # --read-only
        ("touch /app/in/0/x 2>&1 | grep -o Read-only", "Read-only"),  # mounts of mixes
        ("touch /app/job/x 2>&1 | grep -o Read-only", "Read-only"),
        ("touch /tmp/x && echo yes", "yes"),  # --tmpfs
        ("grep -o 'noexec' /proc/mounts | head -1", "noexec"),
        ("grep ' /tmp ' /proc/mounts | grep -o 'size=[0-9]*k'", "size=2097152k"),
        ("grep CapEff /proc/1/status | tr -d '\t'", "CapEff:0000000000000000"),  # --cap-drop
        ("grep CapBnd /proc/1/status | tr -d '\t'", "CapBnd:0000000000000000"),
        ("grep NoNewPrivs /proc/1/status | tr -d '\t'", "NoNewPrivs:1"),
        ("cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null", "512"),
        ("grep Name /proc/1/status | tr -d '\t' | cut -c1-15", "Name:docker-ini"),  # --init
        ("id -u", str(os.getuid())),  # --user
        ("df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2", "262144"),  # --shm-size
        (
            "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null",
            str(3 << 30),
        ),  # --memory
    ],
)
def test_what_the_kernel_says(running, question, answer):
    inside, _ = running
    assert inside(question) == answer


def test_its_ipc_is_its_own(running):
    inside, _ = running
    assert inside("readlink /proc/self/ns/ipc") != str(Path("/proc/self/ns/ipc").readlink())
