"""Images: built from this installation, once; checked, loaded, run by compose, removed."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "containers" / "sep_containers" / "compose.yaml"


def test_what_the_build_said(built):
    assert "of the engine's disk" in built  # the gigabytes, first
    assert "1/3 the base image ..." in built
    assert len(built.splitlines()) == 12  # one per step
    assert "works:" in built


def test_the_image(built, dockerd):
    from sep_protocol.version import PROTOCOL, __version__

    found = json.loads(dockerd("inspect", "sep-audio:cpu"))[0]
    labels = found["Config"]["Labels"]
    assert labels["dev.sep.version"] == __version__
    assert labels["dev.sep.protocol"] == str(PROTOCOL)
    assert labels["dev.sep.variant"] == "cpu"
    assert found["Config"]["User"] == "65534:65534"
    assert f"sep-audio:{__version__}-cpu" in found["RepoTags"]
    ask = "cd /; ls -A tmp; ls -A app"
    left = dockerd("run", "--rm", "--entrypoint", "sh", "sep-audio:cpu", "-c", ask)
    assert left.split() == ["in", "job", "models", "out"]
    assert labels["dev.sep.stage"] == "whole"
    assert dockerd("images", "-q", "--filter", "dangling=true") == ""  # as large again


def test_setup_is_idempotent(sep, base, wheelhouse, dockerd):
    before = dockerd("images", "-q", "--no-trunc", "sep-audio:cpu")
    options = ("--engine", "container", "--variant", "cpu", "--base", base)
    _, told = sep("setup", *options, "--wheelhouse", wheelhouse)
    assert "the image for cpu is there already" in told
    assert "works:" in told
    assert dockerd("images", "-q", "--no-trunc", "sep-audio:cpu") == before


def test_an_image_from_a_tar_and_removal(sep, dockerd, tmp_path, clip):
    archive = tmp_path / "sep.tar"
    dockerd("save", "-o", archive, "sep-audio:cpu")
    # What a build leaves after a kill -9 of all that could clear it away.
    dockerd("build", "-q", "-", input="FROM sep-audio:cpu\nLABEL dev.sep.stage=unfinished\n")
    _, told = sep("setup", "--engine", "container", "--remove", "--yes")
    assert "what image builds have left" in told
    assert "removing the cpu image" in told
    assert dockerd("images", "-q", "--filter", "dangling=true") == ""
    assert dockerd("images", "-q", "--filter", "label=dev.sep.variant") == ""
    _, told = sep("run", clip, "--engine", "container", code=12)
    assert "there is no image for cpu" in told
    (tmp_path / "bad.tar").write_bytes(b"no tar")
    load = ("setup", "--engine", "container", "--variant", "cpu", "--offline", "--yes")
    sep(*load, "--from-tar", tmp_path / "bad.tar", code=12)
    sep(*load, "--from-tar", tmp_path / "none.tar", code=3)
    _, told = sep(*load, "--from-tar", archive)
    assert "works:" in told
    sep("run", clip, "--engine", "container")


def test_a_build_that_fails_leaves_nothing_new(sep, base, tmp_path, dockerd):
    (tmp_path / "empty").mkdir()
    before = dockerd("images", "-aq")
    options = ("setup", "--engine", "container", "--variant", "cpu", "--base", base, "--repair")
    _, told = sep(*options, "--yes", "--wheelhouse", tmp_path / "empty", code=12)
    # pip's reason, not the step as it is written
    assert "the image cannot be made (PyTorch and other packages): ERROR: " in told
    assert "returned a non-zero code" not in told
    assert dockerd("images", "-q", "--filter", "dangling=true") == ""
    assert set(dockerd("images", "-q", "sep-audio:cpu").split()) <= set(before.split())
    assert dockerd("images", "-q", "sep-audio:cpu")
    assert "nothing was done" in sep(*options, "--wheelhouse", tmp_path / "empty", code=2)[1]
    _, told = sep(*options, "--yes", "--ca", tmp_path / "no.crt", code=3)
    assert "no.crt" in told


def test_a_build_that_is_interrupted_leaves_nothing(start, base, wheelhouse, dockerd):
    """In the middle of the step that takes long, which the daemon has to end first."""
    options = ("setup", "--engine", "container", "--variant", "cpu", "--base", base, "--repair")
    with start(*options, "--yes", "--wheelhouse", wheelhouse) as process:
        for line in process.stderr:
            if line.startswith("2/3"):
                break
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "error: interrupted" in told
    assert dockerd("images", "-q", "--filter", "dangling=true") == ""


def test_a_base_that_is_nowhere(sep):
    _, told = sep(
        *("setup", "--engine", "container", "--variant", "cpu", "--repair", "--yes"),
        *("--base", "localhost:1/python"),
        code=12,
    )
    assert "the base image cannot be fetched: " in told
    assert "--base IMAGE takes another one, --from-tar FILE" in told


LINE = ("run", "--rm", "-u", "1234:1234")
LOCKED = ("--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL")  # noqa: S108


@pytest.mark.parametrize("more", [(), LOCKED])
def test_the_image_by_hand(built, dockerd, tmp_path, clip, more):
    """The line of docs/containers.md: no launcher outside, any user."""
    shutil.copy(clip, tmp_path / "drums.flac")
    os.chown(tmp_path, 1234, 1234)
    image = (*LINE, *more, "-v", f"{tmp_path}:/data", "sep-audio:cpu")
    dockerd(*image, "run", "drums.flac")
    stems = list((tmp_path / "separated" / "drums").glob("*.wav"))
    assert len(stems) == 5
    assert {each.stat().st_uid for each in stems} == {1234}


def test_the_image_says_what_it_is(built, dockerd):
    assert "Usage: sep " in dockerd("run", "--rm", "sep-audio:cpu")
    assert dockerd("run", "--rm", "--entrypoint", "sh", "sep-audio:cpu", "-c", "sep --version")


def test_compose(built, dockerd, environment, tmp_path, clip):
    compose = shutil.which("docker-compose")
    assert compose, "docker-compose is part of these tests: .ci/run installs it"
    shutil.copy(clip, tmp_path / "song.flac")
    done = subprocess.run(
        [compose, "-f", COMPOSE, "--profile", "cpu", "run", "--rm", "cpu", "run", "song.flac"],
        capture_output=True,
        text=True,
        env={**environment, "SEP_MUSIC": str(tmp_path), "SEP_USER": "0:0"},
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "separated" / "song").glob("*.wav"))) == 5


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_compose_is_locked_down_as_the_engine_is(profile, environment):
    compose = shutil.which("docker-compose")
    told = subprocess.run(
        [compose, "-f", COMPOSE, "--profile", profile, "config"],
        capture_output=True,
        text=True,
        env={**environment, "SEP_MUSIC": "/m"},
        check=True,
    ).stdout
    import yaml

    service = yaml.safe_load(told)["services"][profile]
    assert service["network_mode"] == "none"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert set(service["security_opt"]) == {"no-new-privileges:true", "label=disable"}
    assert service["init"] is True
    assert service["image"] == f"sep-audio:{'cuda' if profile == 'gpu' else 'cpu'}"
    assert ("deploy" in service) == (profile == "gpu")


def test_the_launcher_in_the_image_is_this_one(built, dockerd):
    from sep_protocol.version import __version__

    told = dockerd("run", "--rm", "sep-audio:cpu", "--version")
    assert told == f"sep {__version__}"
