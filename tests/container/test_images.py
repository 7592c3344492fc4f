"""Images: built from this installation, once; checked, loaded, run by compose, removed."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "containers" / "sep_containers" / "compose.yaml"


def test_what_the_build_said(built):
    assert "of the engine's disk" in built  # the gigabytes, first
    assert "step 1 of " in built
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
    assert dockerd("images", "-q", "--filter", "label=dev.sep.stage") == ""  # as large again


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
    _, told = sep("setup", "--engine", "container", "--remove", "--yes")
    assert "removing the cpu image" in told
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
    assert (
        "the image cannot be made: ERROR: " in told
    )  # pip's reason, not the step as it is written
    assert "returned a non-zero code" not in told
    assert dockerd("images", "-q", "--filter", "label=dev.sep.stage") == ""
    assert set(dockerd("images", "-q", "sep-audio:cpu").split()) <= set(before.split())
    assert dockerd("images", "-q", "sep-audio:cpu")
    assert "nothing was done" in sep(*options, "--wheelhouse", tmp_path / "empty", code=2)[1]
    _, told = sep(*options, "--yes", "--ca", tmp_path / "no.crt", code=3)
    assert "no.crt" in told


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

    told = dockerd("run", "--rm", "--entrypoint", "/opt/sep/bin/sep", "sep-audio:cpu", "--version")
    assert told == f"sep {__version__}"
