"""Where fetched models lie: the launcher and Python programs agree, and the system does, too."""

import ntpath
import sys
from pathlib import Path

import platformdirs.macos
import platformdirs.unix
import platformdirs.windows
import pytest

from sep_launcher.machine import paths
from sep_models import home
from sep_protocol.errors import PathError

KINDS = {"linux": platformdirs.unix.Unix, "darwin": platformdirs.macos.MacOS}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in ("SEP_HOME", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")


@pytest.mark.parametrize("system", KINDS)
def test_it_is_where_the_system_wants_it(monkeypatch, system):
    monkeypatch.setattr(sys, "platform", system)
    theirs = KINDS[system]("sep", appauthor=False).user_data_dir
    assert str(home.data()) == theirs
    assert paths.models() == home.models() == Path(theirs, "models")


@pytest.mark.parametrize("system", KINDS)
@pytest.mark.parametrize("shared", ["", "  ", "/data of mine", "relative"])
def test_the_variable_for_it_counts_where_it_is_a_folder(monkeypatch, system, shared):
    monkeypatch.setattr(sys, "platform", system)
    before = home.data()
    monkeypatch.setenv("XDG_DATA_HOME", shared)
    assert home.data() == (Path("/data of mine/sep") if shared[:1] == "/" else before)


def test_on_windows(monkeypatch):
    local = r"C:\Users\me\AppData\Local"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", local)
    monkeypatch.setattr(platformdirs.windows, "get_win_folder", lambda _: local)
    theirs = platformdirs.windows.Windows("sep", appauthor=False).user_data_dir
    assert ntpath.normpath(home.data()) == ntpath.normpath(theirs)
    monkeypatch.delenv("LOCALAPPDATA")
    assert home.data() == Path("/home/me/AppData/Local/sep")


def test_one_variable_moves_it_all(monkeypatch, tmp_path):
    monkeypatch.setenv("SEP_HOME", "here")
    monkeypatch.setenv("XDG_DATA_HOME", "/elsewhere")
    monkeypatch.chdir(tmp_path)
    assert paths.data() == home.data() == Path(tmp_path, "here")


def test_without_a_home(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(RuntimeError):
        home.models()
    with pytest.raises(PathError, match="no home folder"):
        paths.models()
