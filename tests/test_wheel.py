"""The wheel carries all that is needed, and works with the checkout out of reach."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built without a network from a copy of what is tracked."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=source,
        capture_output=True,
        check=True,
    )
    shutil.rmtree(source)
    return next(folder.glob("sep_audio-*.whl"))


def test_what_is_in_it(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "sep_models/golden.flac",
        "sep_models/mdx23c_mini/weights.safetensors",
        "sep_models/mdx23c_mini/card.md",
        "sep_models/larsnet/model.toml",
        "sep_containers/Dockerfile",
        "sep_containers/constraints.txt",
        "sep_containers/hashes.txt",
        "sep_launcher/py.typed",
    ):
        assert name in names
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"sep_launcher", "sep_protocol", "sep_runtime", "sep_models", "sep_containers"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert wheel.stat().st_size < 25e6


def test_what_the_image_pins_has_hashes():
    """The constraints and the file with the hashes name the same versions, all that runs need."""
    folder = ROOT / "containers" / "sep_containers"
    hashed = (folder / "hashes.txt").read_text()
    pins = re.findall(r"(?m)^([\w.-]+==[\w.]+) \\\n    --hash=sha256:[0-9a-f]{64}\b", hashed)
    assert pins
    lines = (folder / "constraints.txt").read_text().splitlines()
    assert [each for each in lines if not each.startswith("#")] == pins
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split("[<>=]", each)[0] for each in project["optional-dependencies"]["runtime"]}
    assert needed - {"torch"} <= {each.partition("==")[0] for each in pins}
    assert "http" not in hashed


def test_it_separates_without_the_checkout(wheel, tmp_path, home):
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    env = {**os.environ, "PYTHONPATH": str(installed)}
    where = subprocess.run(
        [sys.executable, "-P", "-c", "import sep_runtime; print(sep_runtime.__file__)"],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(installed))
    clip = installed / "sep_models" / "golden.flac"
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sep_launcher", "run", str(clip), "--json"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tracks"][0]["frames"] == 4 * 44100
