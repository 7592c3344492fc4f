"""A checkpoint of one's own gets a name, and loses it; fetched models go, too."""

import json

import pytest
import soundfile

import sep_models


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


@pytest.mark.slow
def test_a_name_for_a_checkpoint(sep, mine, clip, home, tmp_path):
    checkpoint, settings = mine
    told = sep("models", "add", "mine", "my.ckpt", "--settings", "my.yaml").stderr
    assert told == "to use it: sep run drums.wav -m mine\n"
    assert f"your own:\nmine  {checkpoint}" in sep("models", "list").stdout
    (own,) = json.loads(sep("models", "list", "--json").stdout)["own"]
    assert (own["name"], own["settings"]) == ("mine", str(settings))
    assert str(checkpoint) in sep("models", "show", "mine").stdout
    sep("run", clip, "-m", "mine")
    report = json.loads((tmp_path / "separated" / "clip" / "sep.json").read_text())
    assert report["model"]["name"] == "mine"
    assert report["model"]["sha256"] == own["sha256"]
    # Another file is not silently used under that name.
    with checkpoint.open("ab") as file:
        file.write(b"more")
    done = sep("run", clip, "-m", "mine", "--overwrite", check=16)
    assert "another file than the one that was called mine" in done.stderr
    assert "sep models add mine" in done.stderr
    checkpoint.unlink()
    assert "there is no file" in sep("run", clip, "-m", "mine", check=3).stderr
    sep("models", "remove", "mine", check=2)  # nobody is here to say yes
    sep("models", "remove", "mine", "--yes")
    assert "there is no model called 'mine'" in sep("run", clip, "-m", "mine", check=16).stderr
    assert list((home / "sep" / "models").iterdir()) == []
    assert settings.exists()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("mini my.ckpt --settings my.yaml", 2, "there is a model called 'mini' already"),
        ("my.ckpt my.ckpt --settings my.yaml", 2, "cannot be a model's name"),
        ("a/b my.ckpt --settings my.yaml", 2, "cannot be a model's name"),
        ("mine my.ckpt", 2, "needs its settings"),
        ("mine nope.ckpt --settings my.yaml", 3, "there is no file"),
        ("mine my.ckpt --settings nope.yaml", 3, "there is no file"),
    ],
)
def test_names_that_are_refused(sep, mine, home, words, code, told):
    assert told in sep("models", "add", *words.split(), check=code).stderr
    assert not (home / "sep" / "models").exists()


def test_a_damaged_record_is_none(sep, home):
    for name, text in (("a", "{"), ("b", '{"name": "x"}')):
        folder = home / "sep" / "models" / name
        folder.mkdir(parents=True)
        (folder / "own.json").write_text(text)
    assert json.loads(sep("models", "list", "--json").stdout)["own"] == []


def test_a_fetched_model_is_taken_away(sep, home):
    folder = home / "sep" / "models" / "larsnet"
    folder.mkdir(parents=True)
    (folder / sep_models.WEIGHTS).write_bytes(b"weights")
    (folder / "mine.txt").write_text("mine")
    told = sep("models", "remove", "larsnet", "larsnet", "--yes").stderr
    assert str(folder / sep_models.WEIGHTS) in told
    assert "mdx23c-mini is now the default" in told
    assert [each.name for each in folder.iterdir()] == ["mine.txt"]
    assert "is not here" in sep("models", "remove", "larsnet", "--yes", check=16).stderr
    assert "is a part of sep" in sep("models", "remove", "mini", "--yes", check=16).stderr
