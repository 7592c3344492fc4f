"""Folders that may not be searched or read: told with exit 3, passed over, or not needed."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import soundfile

DROP = "-dac_override,-dac_read_search"

if os.name == "nt" or (os.getuid() == 0 and not shutil.which("setpriv")):
    pytest.skip("root may read everything, and there is no setpriv", allow_module_level=True)


@pytest.fixture
def plain(home, tmp_path, tiny, noise):
    """Run the real command as somebody who is not root in a folder with `clip.wav`."""
    soundfile.write(tmp_path / "clip.wav", noise(2, 8000).T, 44100)
    usual = [f"--inh-caps={DROP}", f"--bounding-set={DROP}"]
    before = ["setpriv", *usual] if os.getuid() == 0 else []

    def run(*args, check=0, model=tiny, **env):
        words = ["--model", model[0], "--model-config", model[1]] if model else []
        done = subprocess.run(
            [*before, sys.executable, "-P", "-m", "sep_launcher", *map(str, (*args, *words))],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | {key: str(value) for key, value in env.items()},
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert done.returncode == check, done.stderr
        return done

    return run


@pytest.fixture
def shut(tmp_path):
    """Make folders that may not be looked into, with a song in each; open again at the end."""
    made = []

    def make(name, mode=0):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        shutil.copy(tmp_path / "clip.wav", folder / "shut.wav")
        folder.chmod(mode)
        made.append(folder)
        return folder

    yield make
    for folder in made:
        folder.chmod(0o755)


@pytest.mark.parametrize("variable", ["HOME", "SEP_HOME", "XDG_CACHE_HOME", "DOCKER_CONFIG"])
@pytest.mark.parametrize("below", ["", "below"])
def test_a_home_of_somebody_else_is_none(plain, shut, tmp_path, variable, below):
    folder = shut("lk") / below
    extra = {} if variable == "SEP_HOME" else {"SEP_HOME": ""}
    plain("run", "clip.wav", "--dry-run", model=None, **{variable: folder, **extra})
    plain("models", "list", model=None, **{variable: folder, **extra})
    plain("route", model=None, **{variable: folder, **extra})


def test_a_home_of_somebody_else_does_not_stop_a_run(plain, shut, tmp_path):
    plain("run", "clip.wav", HOME=shut("lk"), SEP_HOME="")
    assert (tmp_path / "separated" / "clip" / "kick.wav").exists()


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["lk/shut.wav"], "lk/shut.wav cannot be read: Permission denied"),
        (["lk"], "lk cannot be read: Permission denied"),
        (["lk/*.wav"], "lk cannot be read: Permission denied"),
        (["clip.wav", "-o", "lk"], "lk cannot be written: Permission denied"),
        (["clip.wav", "-o", "lk/a/b"], "lk cannot be written: Permission denied"),
        (["clip.wav", "--name", "lk/{track}/{stem}", "-o", "."], "cannot be written"),
    ],
)
def test_what_is_named_is_told(plain, shut, args, told):
    shut("lk")
    found = json.loads(plain("run", *args, "--json", check=3).stdout)
    assert told in found["error"]["message"]


def test_a_folder_of_stems_that_cannot_be_read_is_not_replaced(plain, shut):
    shut("separated/clip")
    assert "cannot be read" in plain("run", "clip.wav", check=3).stderr


@pytest.mark.parametrize("pattern", ["album", "album/**/*.wav", "album/*/*.wav"])
@pytest.mark.parametrize("mode", [0, 0o444])
def test_what_is_in_a_folder_is_passed_over(plain, shut, tmp_path, pattern, mode):
    """Neither a folder without any right, nor one whose names can be seen and no more."""
    (tmp_path / "album" / "cd1").mkdir(parents=True)
    shutil.copy(tmp_path / "clip.wav", tmp_path / "album" / "cd1" / "a.wav")
    shut("album/lk", mode)
    done = plain("run", pattern, "--dry-run", "--json")
    (warning,) = json.loads(done.stdout)["warnings"]
    assert warning.startswith("album/lk")
    assert warning.endswith("cannot be read: Permission denied; it is passed over")
    assert f"warning: {warning}" in done.stderr
