"""A new environment from the packages of the one before: which will do, what they share."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sep_launcher.machine import facts, paths
from sep_launcher.machine.host import Host
from sep_launcher.setup import command, installers, native, torch_builds, update
from sep_launcher.setup.native import INSIDE
from sep_protocol.errors import PathError, UsageError

LINUX = Host(system="linux", version="6.8")
BUILD = torch_builds.choose(LINUX).build
PYTHON = installers.version()
FILES = {
    "torch/lib/libtorch.so": "large",
    "torch/__init__.py": "torch",
    f"torch-{BUILD.torch}.dist-info/RECORD": "notes",
    "pip/__init__.py": "pip",
    "six.py": "six",
    "some.pth": "",
    "sep_runtime/__init__.py": "old",
    "sep_audio-0.0.1.dist-info/RECORD": "old",
}


@pytest.fixture
def made(home, monkeypatch, tmp_path):
    """An environment as an older sep made it; returns what is recorded of it."""
    wheel = tmp_path / "sep_audio-0.1.0-py3-none-any.whl"
    wheel.touch()
    monkeypatch.setattr(native, "wheel_of_this", lambda folder: wheel)
    folder = paths.environments() / "0.0.1-cpu-12345678"
    paths.mark(folder)
    environment = folder / INSIDE
    python = installers.python_in(environment, "pip")
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (environment / "pyvenv.cfg").write_text(f"home = /x\nversion = {PYTHON}.7\n")
    packages = update.packages(environment, PYTHON)
    for name, text in FILES.items():
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_text(text)
    (packages / "torch" / "link.so").symlink_to("lib/libtorch.so")
    recorded = facts.Environment(
        python=str(python), folder=str(folder), version="0.0.1", build="cpu", installer="pip"
    )
    facts.write(facts.Facts(native=recorded))
    return recorded


def changed(made, name, text=None):
    path = Path(made.folder) / INSIDE / name
    path.unlink() if text is None else path.write_text(text)


def test_an_update_fetches_no_torch(made):
    work = native.plan(LINUX, native.Wish(torch="cpu", pip=True))
    venv, sep = (" ".join(step.command) for step in work.steps)
    assert "--without-pip" in venv
    assert sep.endswith(f"torch=={BUILD.torch}")
    assert str(work.folder) in sep
    assert work.before == Path(made.folder) / INSIDE
    told = "\n".join(native.described(work))
    assert "taken from the one before" in told
    assert "fetches about" not in told


@pytest.mark.parametrize(
    "other",
    [
        lambda made: changed(made, "pyvenv.cfg", "version_info = 3.99.1\n"),
        lambda made: changed(made, "pyvenv.cfg"),
        lambda made: (
            update.packages(Path(made.folder) / INSIDE, PYTHON)
            .joinpath(f"torch-{BUILD.torch}.dist-info")
            .rename(Path(made.folder) / "torch-2.0.dist-info")
        ),
        lambda made: (
            update.packages(Path(made.folder) / INSIDE, PYTHON)
            .joinpath("pip")
            .rename(Path(made.folder) / "pip")
        ),
        lambda made: facts.write(facts.Facts(native=replace(made, installer="micromamba"))),
        lambda made: facts.write(facts.Facts()),
    ],
    ids=["another Python", "half", "another torch", "made by uv", "made by conda", "none"],
)
def test_what_will_not_do_is_made_anew(made, other):
    other(made)
    work = native.plan(LINUX, native.Wish(torch="cpu", pip=True))
    assert (len(work.steps), work.before) == (3, None)


def test_what_is_named_is_made_anew(made):
    for wish in (native.Wish(torch="cpu", pip=True, repair=True), native.Wish(torch="cu126")):
        assert native.plan(LINUX, wish).before is None


def test_offline_an_update_may_be_possible(made, monkeypatch):
    """Nothing is fetched, whatever is missing: without an environment before it is refused."""
    monkeypatch.setattr(command, "_show", lambda *_: None)
    wish = native.Wish(torch="cpu", pip=True, offline=True)
    wanted = command.Wanted(native=wish, offline=True, dry_run=True)

    class Screen:
        lines: list[str] = []  # noqa: RUF012 (of this test alone)
        command = lines.append

    command._set_up_native(wanted, LINUX, [], Screen)
    assert "--isolated --no-index" in Screen.lines[-1]
    facts.write(facts.Facts())
    with pytest.raises(UsageError, match="packages that are here already"):
        command._set_up_native(wanted, LINUX, [], Screen)


@pytest.mark.parametrize("links", [True, False])
def test_copied_it_is_another_environment(made, tmp_path, monkeypatch, links):
    def refused(*_):
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(update.os, "link", refused)
    before, after = Path(made.folder) / INSIDE, tmp_path / "new"
    source, target = update.packages(before, PYTHON), update.packages(after, PYTHON)
    target.mkdir(parents=True)
    (target / "some.pth").write_text("the new one's own")
    update.copy(before, after, PYTHON)
    found = {str(each.relative_to(target)) for each in target.rglob("*") if each.is_file()}
    assert found == {name for name in FILES if not name.startswith("sep_")} | {"torch/link.so"}
    assert (target / "some.pth").read_text() == "the new one's own"
    assert (target / "torch" / "link.so").readlink() == Path("lib/libtorch.so")
    large = Path("torch/lib/libtorch.so")
    assert (source / large).samefile(target / large) is links
    # What installers write into has to be the new one's own.
    for name in (f"torch-{BUILD.torch}.dist-info/RECORD", "six.py"):
        assert not (source / name).samefile(target / name)
        assert (target / name).read_text() == (source / name).read_text()


def test_a_disk_that_is_full_is_told(made, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(update.os, "link", full)
    monkeypatch.setattr(update.shutil, "copy2", full)
    with pytest.raises(PathError, match=r"cannot be filled: .*No space left on device"):
        update.copy(Path(made.folder) / INSIDE, tmp_path / "new", PYTHON)
