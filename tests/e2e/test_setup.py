"""`sep setup` for real, from an installed wheel: an environment, interruptions, a run, removal."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sep_launcher.setup import torch_builds

ROOT = Path(__file__).parents[2]
CLIP = ROOT / "models" / "sep_models" / "golden.flac"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def own_wheels():
    """Where pip is set up with a folder of wheels, torch may come from there: no index is named."""
    told = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    return "find-links" in told.stdout


@pytest.fixture(scope="module")
def launcher(tmp_path_factory):
    """The command `sep` in an environment of its own, without torch, from the wheel."""
    from sep_launcher.setup.wheel import wheel_of_this

    folder = tmp_path_factory.mktemp("launcher")
    wheel = wheel_of_this(folder)
    subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True)
    python = folder / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", wheel], check=True)
    wheel.unlink()
    return folder / "env" / "bin" / "sep"


@pytest.fixture
def command(launcher, home, own_wheels, tmp_path):
    """Start `sep`; wait for it unless told otherwise."""
    env = {**os.environ, "PATH": "/usr/bin:/bin"}
    if own_wheels:
        env["SEP_TORCH_INDEX"] = "default"

    def run(*arguments, code=0, until=None, wait=1.0, more=()):
        with subprocess.Popen(
            [launcher, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**env, **dict(more)},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
        ) as process:
            if until:
                for line in process.stderr:
                    if until in line:
                        break
                time.sleep(wait)
                process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=800)
        assert process.returncode == code, err
        return out, err

    return run


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_interrupted_three_times_then_run_then_removed(command, home, tmp_path):
    before = files(home)
    _, told = command("run", CLIP, code=12)
    assert "sep setup" in told
    assert "[nothing-set-up]" in told
    assert "[nothing-set-up]" in command("doctor", code=1)[0]
    for moment in ("1/3", "2/3", "3/3"):
        _, told = command("setup", "--yes", code=130, until=moment)
        assert "goes on with what it fetched" in told
        assert not (home / "sep" / "facts.json").exists()
        command("run", CLIP, code=12)  # half an environment is none
    # `sep run --yes` sets up what it needs, then does the run.
    out, told = command("run", CLIP, "--yes", "--json")
    assert json.loads(out)["tracks"][0]["frames"] == 4 * 44100
    assert json.loads(out)["device"]["device"] == "cpu"
    recorded = json.loads((home / "sep" / "facts.json").read_text())
    folder = Path(recorded["native"]["folder"])
    assert [each.name for each in folder.parent.iterdir()] == [folder.name]
    assert not (home / "sep" / "cache" / "sep" / "pip").exists()
    assert (tmp_path / "separated" / "golden" / "kick.wav").exists()
    # Nobody's modules get into setup's own Python.
    (tmp_path / "silly").mkdir()
    (tmp_path / "silly" / "torch.py").write_text("raise RuntimeError('boo')")
    silly = {"PYTHONPATH": str(tmp_path / "silly")}
    command("run", CLIP, "-o", "isolated", more=silly)
    assert "all is well" in command("doctor", more=silly)[0]
    # Again: nothing to do, and nothing is done.
    stamp = folder.stat().st_mtime_ns
    _, told = command("setup", "--yes")
    assert "is there already" in told
    assert folder.stat().st_mtime_ns == stamp
    # Making it anew and being interrupted leaves what works.
    command("setup", "--yes", "--repair", code=130, until="2/3")
    command("run", CLIP, "--overwrite")
    # Damaged: named by its check, mended by --repair out of what is here.
    python = Path(recorded["native"]["python"])
    subprocess.run(
        [python, "-m", "pip", "uninstall", "-q", "-y", "safetensors"],
        check=True,
        capture_output=True,
    )
    told, _ = command("doctor", code=1)
    assert "[environment-incomplete]" in told
    assert "fix:    sep setup --repair" in told
    _, told = command("setup", "--yes", code=12)
    assert "safetensors" in told
    assert "sep setup --repair" in told
    command("setup", "--yes", "--repair")
    assert "all is well" in command("doctor")[0]
    command("run", CLIP, "--overwrite")
    command("setup", "--remove", "--yes")
    ours = [name for name in files(home) if ".rustup" not in name]  # pip asks rustc its version
    assert ours == before


def test_offline_from_a_wheelhouse(command, home, tmp_path, own_wheels):
    """All that it needs in one folder; the index is a place where nobody answers."""
    command("setup", "--wheel", tmp_path / "house")
    wheel = next((tmp_path / "house").glob("*.whl"))
    build = next(each for each in torch_builds.table().build if each.name == "cpu")
    extra = [] if own_wheels else ["--extra-index-url", build.index]
    download = [sys.executable, "-m", "pip", "download", "-q", "-d", tmp_path / "house"]
    subprocess.run([*download, f"{wheel}[runtime]", build.requirement, *extra], check=True)
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple"}
    house = ("--wheelhouse", tmp_path / "house")
    command("setup", "--yes", "--offline", "--pip", *house, more=nowhere)
    out, _ = command("run", CLIP, "--json", "--offline")
    assert json.loads(out)["exit_code"] == 0
