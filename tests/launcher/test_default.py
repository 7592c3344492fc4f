"""Which model a run takes that names none: drums are what people have."""

import pytest

import sep_models
from sep_launcher.planning import models
from sep_launcher.planning.choice import choose
from sep_launcher.planning.request import Request
from sep_launcher.setup import pull
from sep_protocol.errors import ModelError


@pytest.fixture
def put(home):
    """Place weights as `sep models pull` leaves them."""

    def place(name):
        folder = home / "sep" / "models" / name
        folder.mkdir(parents=True)
        (folder / sep_models.WEIGHTS).write_bytes(b"weights")

    return place


def taken(tmp_path):
    chosen = choose(Request(files=(), out=tmp_path))
    assert not chosen.missing
    return chosen.called


def test_a_model_for_songs_never_becomes_the_default(put, tmp_path, home):
    before = models.default()
    assert taken(tmp_path) == "mdx23c-mini"
    for each in sep_models.catalogue():
        if each.expects != "drums":
            put(each.name)
            assert models.folder(each)
            assert taken(tmp_path) == "mdx23c-mini"
            told = f"to use it: sep run song.wav -m {each.name}"
            if "drums" in each.stems:
                told += f"; with --from-mix {each.name} the parts of its drums"
            assert pull.use(each, before) == told
    songs = [each for each in models.table() if each["installed"] and each["expects"] != "drums"]
    assert len(songs) > 20
    assert [each["name"] for each in models.table() if each["default"]] == ["mdx23c-mini"]


def test_a_stronger_drum_model_becomes_the_default_and_says_so(put, tmp_path, home):
    for name in ("larsnet", "mdx23c-drumsep-5stem"):
        before = models.default()
        put(name)
        assert taken(tmp_path) == name
        told = pull.use(sep_models.find(name), before)
        assert told.startswith(f"{name} is now the default; ")
        assert f"-m {before.name} " in told
    before = models.default()
    put("mdx23c-drumsep-6stem")  # a weaker one
    assert taken(tmp_path) == "mdx23c-drumsep-5stem"
    told = pull.use(sep_models.find("mdx23c-drumsep-6stem"), before)
    assert told == "to use it: sep run drums.wav -m mdx23c-drumsep-6stem"


def test_help_and_list_name_the_default_of_this_machine(put, sep):
    assert "Without -m, mdx23c-mini is taken" in sep("run", "--help").stdout
    put("mdx23c-drumsep-6stem")
    flat = " ".join(sep("run", "--help").stdout.split())
    assert "Without -m, mdx23c-drumsep-6stem is taken. It expects drums and makes" in flat
    assert "ride, crash" in flat
    listed = sep("models", "list").stdout.splitlines()
    (row,) = [each for each in listed if " default " in each]
    assert row.startswith("mdx23c-drumsep-6stem ")


def test_no_drum_model_at_all(tmp_path, home, monkeypatch):
    monkeypatch.setattr(models, "folder", lambda _: None)
    with pytest.raises(ModelError, match="no drum model is installed"):
        taken(tmp_path)
    assert models.default_stems() == ()
