"""`sep setup` for real, from an installed wheel: an environment, interruptions, a run, removal."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

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


@pytest.fixture
def update(launcher):
    """Make the launcher one of other code and the same version, for the rest of a test."""
    (record,) = launcher.parents[1].glob("lib/*/site-packages/sep_audio-*.dist-info/RECORD")
    name = "sep_runtime/track.py"
    path = record.parents[1] / name
    before = {each: each.read_text() for each in (record, path)}

    def make():
        path.write_text(before[path] + "# newer\n")
        rows = before[record].splitlines(keepends=True)
        record.write_text("".join(f"{name},,\n" if row.startswith(name) else row for row in rows))

    yield make
    for each, text in before.items():
        each.write_text(text)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def check_update(command, home, before):
    """The old code is told, then replaced without a packet from any network."""
    _, told = command("run", CLIP, "--overwrite")
    assert f"warning: {before}/env/bin/python has other code than this sep" in told
    command("setup", "--yes", "--offline", code=130, until="2/2", wait=0.2)
    assert before.exists()
    _, told = command("setup", "--yes", "--offline")
    assert "taken from the one before" in told
    assert len(told.splitlines()) == 11  # one per step
    after = Path(json.loads((home / "sep" / "facts.json").read_text())["native"]["folder"])
    assert [each.name for each in before.parent.iterdir()] == [after.name] != [before.name]
    _, told = command("run", CLIP, "--overwrite")
    assert "warning" not in told
    check = [after / "env" / "bin" / "python", "-m", "pip", "check"]
    subprocess.run(check, check=True, capture_output=True)
    return after


def wheelhouse(command, folder):
    """Fetch all that it needs into one folder, by the line that is told."""
    out, told = command("setup", "--wheel", folder, "--torch", "cpu")
    assert Path(out.strip()).parent == folder
    line = shlex.split(told.splitlines()[-1])
    assert line[:5] == ["python3", "-m", "pip", "download", "-d"]
    subprocess.run([sys.executable, *line[1:], "-q"], check=True)
    return folder


def test_interrupted_then_run_then_mended_offline_then_removed(command, home, tmp_path, update):
    before = files(home)
    _, told = command("run", CLIP, code=12)
    assert "sep setup" in told
    assert "[nothing-set-up]" in told
    assert "[nothing-set-up]" in command("doctor", code=1)[0]
    for moment in ("1/3", "2/3"):
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
    assert f"its Python: {recorded['native']['python']}" in told
    update()
    folder = check_update(command, home, folder)
    python = folder / "env" / "bin" / "python"
    # Making it anew and being interrupted leaves what works.
    command("setup", "--yes", "--repair", code=130, until="2/3")
    command("run", CLIP, "--overwrite")
    # Damaged: named by its check, mended by --repair out of a wheelhouse alone.
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
    house = wheelhouse(command, tmp_path / "house")
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple"}
    offline = ("--offline", "--pip", "--wheelhouse", house)
    command("setup", "--yes", "--repair", *offline, more=nowhere)
    assert "all is well" in command("doctor")[0]
    command("run", CLIP, "--overwrite", "--offline")
    command("setup", "--remove", "--yes")
    ours = [name for name in files(home) if ".rustup" not in name]  # pip asks rustc its version
    assert ours == before
