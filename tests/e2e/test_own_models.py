"""A file of weights becomes a model with a name, whole or not at all, and is needed no more."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from safetensors.torch import load_file

import sep_models

IMPORT = ("models", "import", "my.ckpt", "--config", "my.yaml", "--name", "mine")


@pytest.fixture
def clip(tmp_path, noise):
    path = tmp_path / "clip.wav"
    soundfile.write(path, noise(2, 30000).T, 44100)
    return path


@pytest.fixture
def mine(tiny, tmp_path):
    """A copy of the tiny checkpoint that may be harmed: (ckpt, yaml)."""
    made = tmp_path / "my.ckpt", tmp_path / "my.yaml"
    for old, new in zip(tiny, made, strict=True):
        new.write_bytes(old.read_bytes())
    return made


@pytest.fixture
def models(home):
    return home / "sep" / "models"


def files_of(folder):
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file())


@pytest.mark.slow
def test_a_file_becomes_a_model(sep, mine, clip, models, tmp_path):
    checkpoint, _ = mine
    sha256 = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    said = sep(*IMPORT)
    assert said.stdout == ""
    assert "my.ckpt is not needed any more" in said.stderr
    assert said.stderr.endswith("to use it: sep run drums.wav -m mine\n")
    assert files_of(models) == ["mine/model.json", "mine/weights.safetensors"]
    for each in mine:
        each.unlink()
    manifest = sep_models.of_folder(models / "mine")
    (source,) = manifest.sources
    assert (source.file, source.sha256, manifest.name) == ("my.ckpt", sha256, "mine")
    weights = models / "mine" / "weights.safetensors"
    assert manifest.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    # It is there for people, for scripts and for runs, and needs no other file.
    assert "your own:\nmine " in sep("models", "list").stdout
    (own,) = json.loads(sep("models", "list", "--json").stdout)["own"]
    assert {"schema": 1, **own} == json.loads(sep("models", "info", "mine", "--json").stdout)
    assert (own["weights"], own["imported"]) == (str(weights), manifest.imported)
    told = sep("models", "info", "mine").stdout
    assert sha256 in told
    assert str(models / "mine") in told
    assert sep("models", "path", "mine").stdout == f"{weights}\n"
    sep("run", clip, "-m", "mine")
    report = json.loads((tmp_path / "separated" / "clip" / "sep.json").read_text())
    assert report["model"]["name"] == "mine"
    assert report["model"]["sha256"] == manifest.sha256
    sep("models", "remove", "mine", check=2)  # nobody is here to say yes
    sep("models", "remove", "mine", "--yes")
    assert "there is no model called 'mine'" in sep("run", clip, "-m", "mine", check=16).stderr
    assert list(models.iterdir()) == []


@pytest.mark.slow
def test_its_stems_are_those_of_the_checkpoint(sep, mine, clip, tmp_path):
    sep(*IMPORT)
    sep("run", clip, "-o", "a", "-m", "mine", "--bit-depth", "float")
    sep(
        "run", clip, "-o", "b", "-m", "my.ckpt", "--model-config", "my.yaml", "--bit-depth", "float"
    )
    found = list((tmp_path / "a" / "clip").glob("*.wav"))
    assert len(found) == 5
    for path in found:
        other = soundfile.read(tmp_path / "b" / "clip" / path.name)[0]
        assert (soundfile.read(path)[0] == other).all()


def test_python_finds_it(sep, mine, home):
    import sep_runtime.api

    sep(*IMPORT)
    assert sep_runtime.api.load("mine", device="cpu").stems[0] == "kick"


def test_damage_is_found(sep, mine, clip, models):
    sep(*IMPORT)
    assert "mine         whole" in sep("models", "verify").stdout
    weights = models / "mine" / "weights.safetensors"
    with weights.open("r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(b"damage")
    told = sep("models", "verify", check=16).stdout
    assert "mdx23c-mini  whole" in told
    assert "mine         damaged: its SHA-256 is another one" in told
    assert "sep models import FILE --name mine --overwrite" in told
    (found,) = json.loads(sep("models", "verify", "mine", "--json", check=16).stdout)["models"]
    assert (found["name"], found["fault"]) == ("mine", "its SHA-256 is another one")
    assert "are damaged" in sep("run", clip, "-m", "mine", check=16).stderr
    sep("models", "verify", "mini")
    weights.unlink()
    assert "the file is missing" in sep("models", "verify", "mine", check=16).stdout
    assert "there is no model" in sep("models", "verify", "nope", check=16).stderr
    assert "is not installed" in sep("models", "verify", "larsnet", check=16).stderr
    assert "is not installed" in sep("models", "path", "larsnet", check=16).stderr


@pytest.mark.slow
def test_a_name_that_is_taken(sep, mine, models):
    """The old model stays until the new one is whole, and beside it what is not ours."""
    checkpoint, _ = mine
    sep(*IMPORT)
    (models / "mine" / "notes.txt").write_text("mine")
    before = (models / "mine" / "model.json").read_bytes()
    told = sep(*IMPORT, check=2).stderr
    assert "a model of yours called 'mine' already" in told
    assert "--overwrite" in told
    good = checkpoint.read_bytes()
    checkpoint.write_bytes(good[: len(good) // 2])
    assert "damaged" in sep(*IMPORT, "--overwrite", check=16).stderr
    assert (models / "mine" / "model.json").read_bytes() == before
    sep("models", "verify", "mine")
    checkpoint.write_bytes(good + b"\0")  # a zip may have more at its end
    sep("models", "import", "my.ckpt", "--config", "my.yaml", "--name", "mine", "--overwrite")
    assert (models / "mine" / "model.json").read_bytes() != before
    assert files_of(models) == ["mine/model.json", "mine/notes.txt", "mine/weights.safetensors"]
    sep("models", "verify", "mine")
    sep("models", "remove", "mine", "--yes")
    assert files_of(models) == ["mine/notes.txt"]
    sep(*IMPORT)  # a folder that is somebody's is no model
    assert (models / "mine" / "notes.txt").read_text() == "mine"


def test_the_files_name_is_taken_where_none_is_given(sep, mine, models, tmp_path):
    (tmp_path / "a model (v1.2) é.ckpt").write_bytes(mine[0].read_bytes())
    sep("models", "import", "a model (v1.2) é.ckpt", "--config", "my.yaml")
    assert [each.name for each in models.iterdir()] == ["a-model-v1-2"]
    (tmp_path / "é.ckpt").write_bytes(mine[0].read_bytes())
    told = sep("models", "import", "é.ckpt", "--config", "my.yaml", check=2).stderr
    assert "--name NAME" in told


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("my.ckpt --name mini --config my.yaml", 2, "there is a model called 'mini' already"),
        ("my.ckpt --name MINI --config my.yaml", 2, "there is a model called 'mini' already"),
        ("my.ckpt --name my.ckpt --config my.yaml", 2, "cannot be a model's name"),
        ("my.ckpt --name a/b --config my.yaml", 2, "cannot be a model's name"),
        ("my.ckpt --name nul --config my.yaml", 2, "cannot be a model's name"),
        ("my.ckpt --name mine", 2, "needs its settings"),
        ("my.ckpt --config bad.yaml", 16, "the settings"),
        ("my.yaml --config my.yaml", 16, "my.yaml"),
        ("empty.ckpt --config my.yaml", 16, "empty"),
        ("nope.ckpt --config my.yaml", 3, "there is no file"),
        ("my.ckpt --config nope.yaml", 3, "there is no file"),
        ("folder --config my.yaml", 3, "is a folder, not a file"),
    ],
)
def test_what_is_refused_leaves_nothing(sep, mine, models, tmp_path, words, code, told):
    (tmp_path / "bad.yaml").write_text("audio: 1")
    (tmp_path / "empty.ckpt").touch()
    (tmp_path / "folder").mkdir()
    assert told in sep("models", "import", *words.split(), check=code).stderr
    assert not models.exists() or list(models.iterdir()) == []
    assert mine[0].exists()


def test_without_an_environment(sep, mine, models):
    nowhere = {"SEP_RUNTIME_PYTHON": "/nowhere/python"}
    assert "cannot be started" in sep(*IMPORT, check=12, env=nowhere).stderr
    assert not models.exists() or list(models.iterdir()) == []


def test_a_full_disk_leaves_what_was_there(sep, mine, models, small):
    sep(*IMPORT)
    shutil.move(models, small / "models")
    models.symlink_to(small / "models")
    before = files_of(small)
    (small / "fill").write_bytes(bytes((4 << 20) - (1 << 20) - sum(
        each.stat().st_size for each in small.rglob("*") if each.is_file()
    )))  # fmt: skip
    told = sep(*IMPORT, "--overwrite", check=3).stderr
    assert "the disk is full" in told
    assert files_of(small) == ["fill", *before]
    sep("models", "verify", "mine")


@pytest.mark.slow
def test_an_import_that_is_killed_leaves_nothing_half(sep, mine, models, home):
    """At any moment; and the next one clears away what the kill left."""
    sep(*IMPORT)
    before = (models / "mine" / "model.json").read_bytes()
    command = [sys.executable, "-P", "-m", "sep_launcher", *IMPORT, "--overwrite"]
    for seconds in (0.4, 1.0, 1.6, 2.2, 2.8, 3.4, 4.0):
        process = subprocess.Popen(command, cwd=mine[0].parent, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        sep("models", "verify", "mine")
        found = {each for each in files_of(models) if not each.startswith(".sep-")}
        assert found == {"mine/model.json", "mine/weights.safetensors"}
    sep("models", "import", "my.ckpt", "--config", "my.yaml", "--name", "other")
    assert [each.name for each in sorted(models.iterdir())] == ["mine", "other"]
    assert (models / "mine" / "model.json").read_bytes() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_import_that_is_interrupted_says_so(mine, models, home, number):
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "sep_launcher", *IMPORT],
        cwd=mine[0].parent,
        stderr=subprocess.PIPE,
        text=True,
    )
    told = [process.stderr.readline(), process.stderr.readline()]
    assert told[-1] == "converting mine ...\n"
    process.send_signal(number)
    assert "my.ckpt is as it was, and nothing else is here" in process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert not models.exists() or list(models.iterdir()) == []


def test_a_death_between_the_moves(sep, mine, models, clip):
    """The old model is found where it was moved aside; the next import sees to it."""
    sep(*IMPORT)
    (models / "mine").rename(models / ".sep-old-mine")
    assert [each["name"] for each in json.loads(sep("models", "list", "--json").stdout)["own"]] == [
        "mine"
    ]
    sep("models", "verify", "mine")
    assert "already" in sep(*IMPORT, check=2).stderr
    sep(*IMPORT, "--overwrite")
    assert [each.name for each in models.iterdir()] == ["mine"]
    (models / "mine").rename(models / ".sep-old-mine")
    sep("setup", "--remove", "--yes")  # that is no rest of ours: it is the model
    sep("models", "remove", "mine", "--yes")
    assert list(models.iterdir()) == []


def test_a_damaged_record_is_none(sep, models):
    for name, text in (("a", "{"), ("b", '{"name": "x"}'), ("c", "[" * 5000)):
        folder = models / name
        folder.mkdir(parents=True)
        (folder / "model.json").write_text(text)
    assert json.loads(sep("models", "list", "--json").stdout)["own"] == []


def test_a_fetched_model_is_taken_away(sep, models):
    folder = models / "larsnet"
    folder.mkdir(parents=True)
    (folder / sep_models.WEIGHTS).write_bytes(b"weights")
    (folder / "mine.txt").write_text("mine")
    told = sep("models", "remove", "larsnet", "larsnet", "--yes").stderr
    assert str(folder / sep_models.WEIGHTS) in told
    assert "mdx23c-mini is now the default" in told
    assert [each.name for each in folder.iterdir()] == ["mine.txt"]
    assert "is not here" in sep("models", "remove", "larsnet", "--yes", check=16).stderr
    assert "is a part of sep" in sep("models", "remove", "mini", "--yes", check=16).stderr


# A catalogue that knows the tiny network, in the launcher as in the runtime that it starts.
KNOWING = """
import dataclasses, hashlib, json, sys
import sep_models
from sep_models import Source
from sep_protocol.codec import decode
from pathlib import Path
folder = Path(__file__).parent
known = decode(sep_models.Manifest, json.loads((folder / "known.json").read_text()))
others = sep_models.catalogue()
sep_models.catalogue = lambda: (known, *others)
"""


@pytest.fixture
def knowing(mine, tmp_path, models):
    """The environment of a sep whose catalogue has the tiny checkpoint as `tiny-known`."""
    import torch

    from sep_runtime.models import settings

    manifest = settings.read(mine[1], "tiny-known")
    sha256 = hashlib.sha256(mine[0].read_bytes()).hexdigest()
    half = tmp_path / "half.pth"
    torch.save({"a": torch.zeros(1)}, half)
    known = replace(
        manifest,
        aliases=("tk",),
        licence="MIT",
        sources=(sep_models.Source(file="published.ckpt", sha256=sha256),),
    )
    site = tmp_path / "site"
    site.mkdir()
    from dataclasses import asdict

    (site / "known.json").write_text(json.dumps(asdict(known)))
    (site / "sitecustomize.py").write_text(KNOWING)
    return {"PYTHONPATH": str(site)}


@pytest.mark.slow
def test_a_file_that_sep_knows_becomes_that_model(sep, mine, models, knowing):
    """By its hash: its name may be any, and no settings are needed."""
    said = sep("models", "import", "my.ckpt", env=knowing).stderr
    assert "my.ckpt is not needed any more" in said
    assert files_of(models) == ["tiny-known/weights.safetensors"]
    assert len(load_file(models / "tiny-known" / "weights.safetensors")) > 10
    assert "tiny-known" in sep("models", "verify", env=knowing).stdout
    assert "is here already" in sep("models", "import", "my.ckpt", env=knowing).stderr
    assert (
        "is here already" in sep("models", "import", "my.ckpt", "--name", "tk", env=knowing).stderr
    )
    told = sep("models", "import", "my.ckpt", "--name", "mine", check=2, env=knowing).stderr
    assert "tiny-known of sep's catalogue, and keeps that name" in told
    told = sep("models", "import", "my.ckpt", "--config", "my.yaml", env=knowing).stderr
    assert "its settings are not needed, and not read" in told


def test_a_name_that_sep_came_to_know_later(sep, mine, models, knowing):
    (words := list(IMPORT))[-1] = "tiny-known"
    sep(*words)
    told = sep("models", "import", "my.ckpt", check=2, env=knowing).stderr
    assert "a model of yours is called tiny-known" in told
    sep("models", "verify", "tiny-known", env=knowing)


def test_one_file_of_several(sep, home, tmp_path, monkeypatch):
    from sep_launcher.planning import models as planning
    from sep_launcher.setup import importing
    from sep_launcher.show.render import Style, Terminal
    from sep_protocol.errors import UsageError

    path = tmp_path / "pretrained_kick_unet.pth"
    path.write_bytes(b"kick")
    kick = sep_models.find("larsnet").sources[0].sha256
    monkeypatch.setattr(planning, "digest", lambda _: kick)
    with pytest.raises(UsageError, match="one of 5 files of larsnet"):
        importing.take(importing.Wish(file=path), Terminal(Style()), lambda: None)


def test_the_doctor_looks_at_it(sep, mine, models):
    sep(*IMPORT)
    weights = models / "mine" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    found = json.loads(sep("doctor", "--json", check=None).stdout)
    assert any("mine: it is cut off" in json.dumps(each) for each in found["findings"])


def test_nothing_of_it_is_left_by_setup_remove(sep, mine, models):
    sep(*IMPORT)
    half = models / ".sep-new-other"
    half.mkdir()
    (half / "weights.safetensors").write_bytes(b"half")
    told = sep("setup", "--remove", "--yes").stderr
    assert str(half) in told
    assert files_of(models) == ["mine/model.json", "mine/weights.safetensors"]
    assert Path(models / "mine").is_dir()
