"""`sep doctor` beside a real daemon: its images, its permissions, and the clip in a container."""

import json
import os
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "launcher/sep_launcher/doctor/schema.json").read_text())


# Root without the power to pass over permissions.
PLAIN_ROOT = (
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search",
    "--inh-caps=-dac_override,-dac_read_search",
)


@pytest.fixture
def doctor(start):
    """Run `sep doctor --json`; returns the document, which must keep to the schema."""

    def run(*args, **options):
        with start("doctor", "--json", *args, **options) as process:
            out, err = process.communicate(timeout=300)
        assert out, err
        document = json.loads(out)
        jsonschema.validate(document, SCHEMA)
        assert process.returncode == document["exit_code"]
        return document

    return run


def test_a_healthy_engine_with_an_image(doctor, dockerd):
    document = doctor("--deep")
    assert document["findings"] == []
    assert document["host"]["docker"]["images"] == ["cpu"]
    native, contained = (each for each in document["tried"] if each["precision"] == "fp32")
    assert (native["engine"], contained["engine"]) == ("native", "container")
    # The same torch on the same processor: whatever is left is rounding.
    assert contained["snr"] > 90
    assert dockerd.ours() == []


def test_no_permission(doctor, dockerd):
    before = dockerd.socket.stat()
    os.chown(dockerd.socket, 12345, 12345)
    dockerd.socket.chmod(0o600)
    try:
        document = doctor(prefix=PLAIN_ROOT)
    finally:
        os.chown(dockerd.socket, before.st_uid, before.st_gid)
        dockerd.socket.chmod(before.st_mode)
    (finding,) = document["findings"]
    assert finding["id"] == "docker-permission"
    assert "usermod -aG docker" in finding["fix"]


def test_an_image_of_another_sep(doctor, dockerd):
    """The one for this sep beside it is not touched by that."""
    labels = "dev.sep.variant=cuda dev.sep.version=0.0.9 dev.sep.protocol=1 dev.sep.wheel=x"
    build = f"FROM sep-audio:cpu\nLABEL {labels}\n"
    dockerd("build", "-q", "-t", "sep-test:old", "-", input=build)
    try:
        (finding,) = doctor()["findings"]
    finally:
        dockerd("rmi", "-f", "sep-test:old")
    assert finding["id"] == "image-stale"
    assert "sep 0.0.9" in finding["detail"]
    assert finding["fix"] == "sep setup --engine container"


@pytest.mark.parametrize("hidden", ["in", "out"])
def test_a_folder_that_the_engine_does_not_share(start, clip, dockerd, tmp_path, hidden):
    """A disk that the daemon does not see: it finds the empty folder below it."""
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    mount = f'mount -t tmpfs none {tmp_path}/{hidden} && cp {clip} {tmp_path}/in/ && exec "$@"'
    command = ("run", tmp_path / "in" / "golden.flac", "-o", tmp_path / "out")
    prefix = ("unshare", "-m", "sh", "-c", mount, "sh")
    with start(*command, "--engine", "container", prefix=prefix) as process:
        _, told = process.communicate(timeout=120)
    # A song that is not there is one bad track; stems that went elsewhere end the run.
    assert process.returncode == {"in": 1, "out": 11}[hidden], told
    assert "[docker-sees-other-files]" in told
    assert dockerd.ours() == []
