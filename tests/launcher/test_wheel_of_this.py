"""An installation is packed again as it was, or refused."""

import importlib.metadata
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sep_launcher.setup import wheel
from sep_protocol.errors import NotReadyError


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel of the checkout under test, which is how an editable installation is packed."""
    return wheel.wheel_of_this(tmp_path_factory.mktemp("built"))


@pytest.fixture
def installed(built, tmp_path):
    """That wheel, installed as pip does it: with a script and what pip notes."""
    pip(tmp_path / "lib", built)
    return importlib.metadata.Distribution.at(next((tmp_path / "lib").glob("*.dist-info")))


def pip(target, path):
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*command, "--target", target, path], check=True)


def contents(path):
    with zipfile.ZipFile(path) as packed:
        assert packed.testzip() is None
        return {
            name: packed.read(name) for name in packed.namelist() if not name.endswith("RECORD")
        }


def test_packed_again_it_is_the_same(built, installed, tmp_path):
    again = wheel._packed(installed, tmp_path)
    assert again.name == built.name
    assert contents(again) == contents(built)
    assert again.read_bytes() == wheel._packed(installed, tmp_path).read_bytes()


def test_pip_installs_what_was_packed_again(installed, tmp_path):
    again = wheel._packed(installed, tmp_path)
    pip(tmp_path / "second", again)
    script = (tmp_path / "second" / "bin" / "sep").read_text()
    assert "sep_launcher" in script


@pytest.mark.parametrize("harm", ["gone", "changed"])
def test_an_installation_that_is_not_whole_is_refused(installed, tmp_path, harm):
    victim = Path(str(installed.locate_file("sep_runtime/separate.py")))
    if harm == "gone":
        victim.unlink()
    else:
        victim.write_text("print('hello')\n")
    with pytest.raises(NotReadyError, match=r"separate\.py") as caught:
        wheel._packed(installed, tmp_path)
    assert caught.value.hint
    assert not list(tmp_path.glob("*.whl"))


def test_what_was_never_installed_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(wheel, "DISTRIBUTION", "no-such-distribution")
    with pytest.raises(NotReadyError, match="not installed"):
        wheel.wheel_of_this(tmp_path)


def test_it_carries_what_setup_needs(built):
    names = contents(built)
    for name in ("torch.toml", "environment.yml"):
        assert f"sep_launcher/setup/{name}" in names
