"""What many tests need: the real command, real audio, a small real network."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# A shell that starts us in the background ignores interrupts, and children would, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
REFERENCE = ROOT / "tests" / "runtime" / "reference"


def pytest_collection_modifyitems(items):
    """What is slow on an idle machine may take half an hour on a busy one; the slowest begins."""
    items.sort(key=lambda item: item.path.name != "test_setup.py")
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(1800), append=False)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home, for this process and its children."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("SEP_HOME", str(folder / "sep"))
    ours = [each for each in os.environ if re.match("SEP_(?!HOME|TEST_)", each)]
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "XDG_CACHE_HOME", "CUDA_VISIBLE_DEVICES", *ours):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def sep(home, tmp_path):
    """Run the real command in an empty folder; returns what it left behind."""

    def run(*args, check=0, timeout=120, **options):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "sep_launcher", *map(str, args)],
            capture_output=True,
            text=options.pop("text", True),
            cwd=options.pop("cwd", tmp_path),
            env={**os.environ, **options.pop("env", {})},
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
        if check is not None:
            assert done.returncode == check, done.stderr + done.stdout
        return done

    return run


@pytest.fixture
def small(tmp_path):
    """A disk of four megabytes."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="session")
def recipe():
    """The recipe that makes the reference vectors' weights and inputs."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("recipe", REFERENCE / "recipe.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny(recipe, tmp_path_factory):
    """A checkpoint and its settings, of a network that takes a moment: (ckpt, yaml)."""
    import numpy as np
    import torch

    vector = json.loads((REFERENCE / "mdx23c-small.json").read_text())
    folder = tmp_path_factory.mktemp("tiny")
    drawn = recipe.weights(vector["shapes"], vector["seed"])
    # Quiet, so that its stems do not clip.
    drawn["final_conv.2.weight"] = drawn["final_conv.2.weight"] * np.float32(0.05)
    state = {key: torch.from_numpy(value) for key, value in drawn.items()}
    torch.save({"state_dict": state}, folder / "tiny.ckpt")
    (folder / "tiny.yaml").write_text(json.dumps(vector["config"]))
    return folder / "tiny.ckpt", folder / "tiny.yaml"


@pytest.fixture(scope="session")
def imported(recipe, tiny, tmp_path_factory):
    """A folder of models: `toy-song` takes drums out of songs, `toy-kit` and `toy-kit-2` split."""
    import published
    import torch

    folder = tmp_path_factory.mktemp("imported")
    quiet = {
        key: value * 0.05 if key.startswith("decoder.2.") else value
        for key, value in published.state(recipe, "scnet-small").items()
    }
    torch.save({"state_dict": quiet}, folder / "song.ckpt")
    (folder / "song.yaml").write_text(json.dumps(published.settings("scnet-small")))
    other = {key: value * 0.9 for key, value in torch.load(tiny[0])["state_dict"].items()}
    torch.save({"state_dict": other}, folder / "other.ckpt")
    for name, checkpoint, settings in (
        ("toy-song", folder / "song.ckpt", folder / "song.yaml"),
        ("toy-kit", *tiny),
        ("toy-kit-2", folder / "other.ckpt", tiny[1]),
    ):
        words = ["models", "import", checkpoint, "--config", settings, "--name", name]
        subprocess.run(
            [sys.executable, "-P", "-m", "sep_launcher", *words],
            env={**os.environ, "SEP_HOME": str(folder)},
            capture_output=True,
            check=True,
        )
    return folder / "models"


@pytest.fixture
def noise():
    """Noise bursts [C, T] in float32, peak under 0.5."""
    import numpy as np

    def make(channels, samples, seed=0):
        drawn = np.random.default_rng([seed, channels, samples]).standard_normal(
            (channels, samples)
        )
        return np.clip(drawn * 0.1, -0.5, 0.5).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def larsnet_files(tmp_path_factory):
    """LarsNet's five files in the form in which they are published, with weights of any value."""
    import torch

    from sep_runtime.models.adopt import Uninitialised
    from sep_runtime.nets.unet import UNet

    folder = tmp_path_factory.mktemp("larsnet")
    files = {}
    with Uninitialised():
        network = UNet()
    state = {key: torch.zeros_like(value) for key, value in network.state_dict().items()}
    for stem in ("kick", "snare", "toms", "hihat", "cymbals"):
        files[stem] = folder / f"pretrained_{stem}_unet.pth"
        moments = {
            name: {key: value.clone() for key, value in state.items()}
            for name in ("exp_avg", "exp_avg_sq")
        }
        optimizer = {"state": {0: moments}, "param_groups": []}
        torch.save({"model_state_dict": state, "optimizer_state_dict": optimizer}, files[stem])
    return files


@pytest.fixture(scope="session")
def fake():
    """The module `tests/fake_runtime.py`: a runtime without torch that obeys tracks' names."""
    import importlib.util

    path = ROOT / "tests" / "fake_runtime.py"
    spec = importlib.util.spec_from_file_location("fake_runtime", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fake_runtime(home, fake, tmp_path, monkeypatch):
    """Runs find that runtime; returns the folder in which its processes note what they do."""
    folder = tmp_path / "notes"
    folder.mkdir()
    monkeypatch.setenv("SEP_RUNTIME_PYTHON", fake.installed(tmp_path))
    monkeypatch.setenv("SEP_FAKE_NOTES", str(folder))
    return folder
