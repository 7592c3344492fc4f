"""What the doctor sees of Ray, shared disks and stores, by real files."""

import os
import sys

import pytest

from sep_launcher.doctor import look_far

TABLE = """\
/dev/sda1 / ext4 rw,relatime 0 0
server:/music {0}/nas nfs rw,vers=3,nolock,local_lock=all 0 0
10.0.0.1@tcp:/fs {0}/my\\040disk lustre rw,localflock 0 0
server:/old {0}/twice nfs rw,nolock 0 0
/dev/sdb1 {0}/twice ext4 rw 0 0
broken
"""


@pytest.fixture
def disks(home, tmp_path, monkeypatch):
    """A table of mounts; `at(out)` is what is seen of an output there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "mounts").write_text(TABLE.format(os.path.realpath(tmp_path)))

    def at(out):
        monkeypatch.setenv("SEP_OUT", str(out))
        return [(each.where, each.kind) for each in look_far.mounts(tmp_path)]

    return at


def test_an_output_on_a_shared_disk(disks, tmp_path):
    assert disks(tmp_path / "nas" / "a" / "b") == [("SEP_OUT", "nfs")]
    assert disks("nas") == [("SEP_OUT", "nfs")]
    assert disks(tmp_path / "my disk") == [("SEP_OUT", "lustre")]
    assert disks(tmp_path / "nasty") == []
    assert disks("s3://bucket/x") == []


def test_of_two_disks_in_one_place_the_later_is_seen(disks, tmp_path):
    assert disks(tmp_path / "twice" / "x") == []


def test_a_link_leads_to_its_disk(disks, tmp_path):
    (tmp_path / "nas").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nas")
    assert disks("link/x") == [("SEP_OUT", "nfs")]


def test_the_current_folder(disks, tmp_path, monkeypatch):
    (tmp_path / "nas").mkdir()
    monkeypatch.chdir(tmp_path / "nas")
    assert disks("/etc") == [("the current folder", "nfs")]


def test_no_table(home, tmp_path):
    assert look_far.mounts(tmp_path) == ()


@pytest.mark.parametrize("text", ["", "[run]", "[run]\nout = 3", "run = 3", "run", "\0"])
def test_settings_that_name_no_output(home, text):
    (home / "sep").mkdir()
    (home / "sep" / "config.toml").write_text(text)
    assert look_far.outs() == {}


@pytest.fixture
def elsewhere(home, tmp_path, monkeypatch):
    """A `ray` in an environment of its own, which is found first."""
    packages = tmp_path / "env" / "lib" / "python3.9" / "site-packages"
    (packages / "ray-2.44.1.dist-info").mkdir(parents=True)
    program = tmp_path / "env" / "bin" / "ray"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    return program


def test_a_ray_of_another_environment(elsewhere):
    found = look_far.ray()
    assert (found.command, found.command_version) == (str(elsewhere), "2.44.1")
    assert found.command_python == "3.9"


def test_a_ray_by_a_link(elsewhere, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ray").symlink_to(elsewhere)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert look_far.ray().command_version == "2.44.1"


def test_the_ray_beside_us_is_no_other(elsewhere, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(elsewhere.with_name("python")))
    found = look_far.ray()
    assert found is None or not found.command


def test_tokens_are_seen_and_not_read(elsewhere, home, tmp_path, monkeypatch):
    assert not look_far.ray().has_token
    kept = home / ".ray" / "auth_token"
    kept.parent.mkdir()
    kept.write_text("t0ken")
    kept.chmod(0o640)
    found = look_far.ray()
    assert (found.has_token, found.file, found.file_mode) == (True, str(kept), 0o640)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    found = look_far.ray()
    assert (found.has_token, found.file, found.file_mode) == (False, "", None)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "t0ken")
    found = look_far.ray()
    assert found.has_token
    assert "t0ken" not in repr(found)


def test_the_folder_of_a_node(elsewhere, monkeypatch):
    for name in ("TMPDIR", "RAY_TMPDIR"):
        monkeypatch.setenv(name, f"/{name}")
        seen = name if sys.platform == "linux" or name == "RAY_TMPDIR" else "tmp"
        assert look_far.ray().temporary == f"/{seen}"


def test_shared_memory(elsewhere, tmp_path):
    assert look_far.ray(tmp_path).shared_memory is None
    (tmp_path / "dev" / "shm").mkdir(parents=True)
    assert look_far.ray(tmp_path).shared_memory > 0
