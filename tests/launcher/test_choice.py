"""Which models a run takes: one, or several together, and what each of them must be."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import sep_models
from sep_launcher.machine import facts
from sep_launcher.planning import choice, models, own
from sep_launcher.planning.choice import SUGGESTED, check, choose
from sep_launcher.planning.request import AUTO, Request
from sep_protocol import Output
from sep_protocol.errors import ModelError, PathError, UsageError


def request_of(**options):
    return Request(files=("x",), out=Path("/out"), **options)


def one(request):
    """The only model that is taken."""
    chosen = choose(request)
    assert (len(chosen.mean), chosen.first) == (1, None)
    return chosen.mean[0].model


def test_models_are_found_by_name_alias_and_file(home, tiny):
    def chosen(**options):
        (pick,) = choose(request_of(**options)).mean
        return pick.model, pick.manifest

    model, manifest = chosen()
    assert (model.name, model.folder, manifest.bundled) == ("mdx23c-mini", None, True)
    with pytest.raises(ModelError, match="no model called"):
        chosen(model="nope")
    checkpoint, settings = tiny
    model, manifest = chosen(model=str(checkpoint), model_config=settings)
    assert (model.name, manifest) == ("tiny", None)
    with pytest.raises(PathError):
        chosen(model="/nowhere/x.ckpt")
    with pytest.raises(UsageError, match="--model-config"):
        chosen(model_config=settings)


def test_installed_model_of_best_rank_is_the_default(home):
    folder = home / "sep" / "models" / "mdx23c-drumsep-5stem"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").touch()
    model = one(request_of())
    assert (model.name, model.folder) == ("mdx23c-drumsep-5stem", str(folder))


def test_what_is_no_readable_file_is_never_opened(home, tmp_path, tiny):
    """A pipe would be waited for, for ever."""
    checkpoint, _ = tiny
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.ckpt")
    (tmp_path / "folder").mkdir()

    def refused(**options):
        with pytest.raises(PathError) as caught:
            choose(request_of(**options))
        return caught.value.message

    for name in ("pipe", "pipe.ckpt", "folder"):
        assert "not a file" in refused(model=str(tmp_path / name))
        assert "not a file" in refused(model=str(checkpoint), model_config=tmp_path / name)
    assert "a device" in refused(model="/dev/zero")
    assert "no file" in refused(model="./nope")
    assert "cannot be read" in refused(model="./" + "n" * 300)
    assert "cannot be read" in refused(model="./a\0b.ckpt")


def test_a_folder_of_a_models_name_does_not_hide_the_model(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini").mkdir()
    model = one(request_of(model="mini"))
    assert model.name == "mdx23c-mini"


def test_the_noted_hash_goes_with_the_model(home):
    folder = home / "sep" / "models" / "larsnet"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").touch()
    request = request_of(model="larsnet")
    assert one(request).sha256 is None  # nobody noted it
    facts.write(facts.Facts(weights=(facts.Converted(model="larsnet", sha256="ab" * 32),)))
    assert one(request).sha256 == "ab" * 32
    assert one(request_of(model="mini")).sha256 is None


WITHOUT_RIGHTS = ("setpriv", "--inh-caps=-dac_override,-dac_read_search",
                  "--bounding-set=-dac_override,-dac_read_search")  # fmt: skip
CHOOSE = """
import sys
from dataclasses import asdict, replace
from pathlib import Path
from sep_launcher.planning import choice
from sep_launcher.planning.request import Request
from sep_protocol.errors import SepError
try:
    chosen = choice.choose(Request(files=("x",), out=Path("/o"), model=sys.argv[1] or None))
    print(chosen.called)
except SepError as fault:
    print(int(fault.code), fault.message)
"""


@pytest.mark.skipif(
    not shutil.which("setpriv") or os.geteuid() != 0, reason="rights are taken away by setpriv"
)
@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("", "mdx23c-mini"),
        ("mini", "mdx23c-mini"),
        ("larsnet", "3 {home}/models/larsnet cannot be searched: Permission denied"),
        ("{home}/x.ckpt", "3 {home}/x.ckpt cannot be read: Permission denied"),
        ("{home}/x", "3 {home}/x cannot be read: Permission denied"),
    ],
)
def test_a_home_of_someone_else(tmp_path, model, told):
    locked = tmp_path / "home"
    locked.mkdir(mode=0o000)
    done = subprocess.run(
        [*WITHOUT_RIGHTS, sys.executable, "-P", "-c", CHOOSE, model.format(home=locked)],
        env={**os.environ, "SEP_HOME": str(locked)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == told.format(home=locked)


@pytest.fixture
def put(home):
    """Place weights as they lie after `sep models pull`, or those of a user's own model."""

    def place(name, **own):
        folder = home / "sep" / "models" / name
        folder.mkdir(parents=True)
        (folder / sep_models.WEIGHTS).touch()
        if own:
            manifest = replace(sep_models.find("htdemucs"), name=name, imported="2026-11-26", **own)
            (folder / sep_models.RECORD).write_text(json.dumps(asdict(manifest)))
        return folder

    return place


def test_the_best_model_for_songs_that_is_here(put):
    def first():
        found = choose(request_of(from_mix=AUTO))
        return found.first.model.name, found.called, [each.name for each in found.missing]

    assert first() == (SUGGESTED, f"{SUGGESTED} then mdx23c-mini", [SUGGESTED])
    put("becruily-vocals")  # for songs, and makes no drums
    put("mine", stems=("vocals", "other"))
    assert first()[0] == SUGGESTED
    put("my-drums", stems=("drums", "no_drums"))
    assert first() == ("my-drums", "my-drums then mdx23c-mini", [])
    for name in ("htdemucs-6s", "htdemucs", "scnet-xl-ihf"):  # each of a higher rank
        put(name)
        assert first()[::2] == (name, [])


def test_what_is_suggested_can_be_fetched_from_its_author():
    manifest = sep_models.find(SUGGESTED)
    assert models.fetchable(manifest)
    assert models.takes_drums(manifest)
    # The best drums of all that are as small.
    alike = [
        each.scores.get("drums", 0.0)
        for each in sep_models.catalogue()
        if models.takes_drums(each) and (models.size(each) or 1 << 40) <= models.size(manifest)
    ]
    assert manifest.scores["drums"] == max(alike)


def test_models_that_are_to_be_fetched_are_named_with_the_line_that_does_it(put, home):
    request = request_of(model="drumsep", from_mix=AUTO)
    chosen = choose(request)
    assert [each.name for each in chosen.missing] == [SUGGESTED, "mdx23c-drumsep-5stem"]
    assert chosen.first.model.folder == str(home / "sep" / "models" / SUGGESTED)
    with pytest.raises(ModelError, match="are not installed") as caught:
        choice.check_here(request, chosen)
    assert f"sep models pull {SUGGESTED} (84 MB, licence: research use" in caught.value.hint
    assert "sep models pull mdx23c-drumsep-5stem (" in caught.value.hint
    put("mdx23c-drumsep-5stem")
    with pytest.raises(ModelError, match="no model is installed that takes the drums out of a"):
        choice.check_here(request, choose(request))
    named = request_of(from_mix="htdemucs")
    with pytest.raises(ModelError, match="the model htdemucs is not installed"):
        choice.check_here(named, choose(named))
    put(SUGGESTED)
    choice.check_here(request, choose(request))


def test_a_model_that_cannot_be_fetched_is_told_at_once(home, monkeypatch):
    """There is nothing to say yes to."""
    source = replace(sep_models.find("htdemucs").sources[0], urls=())
    without = replace(sep_models.find("htdemucs"), sources=(source,))
    bundled = sep_models.find("mdx23c-mini")
    monkeypatch.setattr(sep_models, "catalogue", lambda: (without, bundled))
    with pytest.raises(ModelError, match="not installed") as caught:
        choose(request_of(from_mix="htdemucs"))
    assert "yourself, then: sep models import" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"model": "mini", "beside": ("mdx23c-mini",)}, "names mdx23c-mini twice", "--weights"),
        ({"from_mix": "htdemucs", "model": "htdemucs"}, "is for a whole song, not for", "--model"),
        ({"from_mix": "becruily-vocals"}, "takes no drums out", "it makes vocals"),
        ({"from_mix": "larsnet"}, "takes no drums out", "it makes kick"),
        ({"model": "larsnet", "beside": ("htdemucs",)}, "of the same stems", "that make the same"),
        ({"from_mix": AUTO, "output": Output(stems=("vocals",))}, "vocals of --stems", "--keep-in"),
        ({"from_mix": AUTO, "output": Output(stems=("tuba",))}, "no stem called 'tuba'", "rest"),
        ({"output": Output(stems=("rest",))}, "no stem called 'rest'", "it makes kick"),
        ({"model": "mini", "beside": ("larsnet",), "overlap": 2.0}, "larsnet knows no", "leave"),
        ({"from_mix": "htdemucs", "overlap": 300000.0}, "at most for mdx23c-mini", "1.25"),
        ({"from_mix": "scnet-small", "model": "larsnet", "overlap": 1.5}, "larsnet knows", ""),
    ],
)
def test_models_that_do_not_fit(home, options, message, hint):
    request = request_of(**options)
    with pytest.raises(UsageError, match=message) as caught:
        check(request, choose(request))
    assert hint in caught.value.command


@pytest.mark.parametrize(
    ("output", "stems"),
    [
        (Output(), "kick snare toms hihat cymbals rest"),
        (Output(stems=("hh", "rest")), "hihat rest"),
        (
            Output(intermediate=True),
            "kick snare toms hihat cymbals drums bass other vocals rest",
        ),
        (Output(stems=("kick",), intermediate=True), "kick drums bass other vocals"),
        (Output(stems=("vocals", "hh"), intermediate=True), "hihat vocals"),
    ],
)
def test_stems_of_a_chain(home, output, stems):
    request = request_of(from_mix="htdemucs", output=output)
    chosen = choose(request)
    check(request, chosen)
    assert chosen.stems(output.stems, intermediate=output.intermediate) == tuple(stems.split())
    assert (chosen.expects, chosen.called) == ("a whole song", "htdemucs then mdx23c-mini")


def test_checkpoints_beside_models(home, tiny, tmp_path):
    """What only a checkpoint knows is left to the runtime, and the rest is known."""
    checkpoint, settings = map(str, tiny)

    def stems(**options):
        request = request_of(**options)
        chosen = choose(request)
        check(request, chosen)
        return chosen.stems(None, intermediate=request.output.intermediate), chosen

    kit = ("kick", "snare", "toms", "hihat", "cymbals")
    found, chosen = stems(model="mini", beside=(checkpoint,), model_config=Path(settings))
    assert (found, chosen.called) == (kit, "mdx23c-mini+tiny")
    assert [each.model.settings for each in chosen.mean] == [None, settings]
    found, chosen = stems(from_mix=checkpoint)
    assert (found, chosen.called) == ((*kit, "rest"), "tiny then mdx23c-mini")
    assert stems(from_mix=checkpoint, output=Output(intermediate=True))[0] == ()
    assert stems(from_mix="htdemucs", model=checkpoint)[0] == ()
    assert stems(model=checkpoint, model_config=Path(settings))[0] == ()
    other = tmp_path / "other.ckpt"
    other.touch()
    for options, told in (
        ({"model": checkpoint, "beside": (str(other),)}, "belongs to one checkpoint"),
        ({"from_mix": checkpoint}, "belongs to a checkpoint of --model"),
    ):
        with pytest.raises(UsageError, match=told) as caught:
            choose(request_of(model_config=Path(settings), **options))
        assert "sep models import FILE --config YAML" in caught.value.hint
    with pytest.raises(UsageError, match="twice"):
        choose(request_of(model=checkpoint, beside=(checkpoint,)))


def test_no_model_of_a_users_own_hides_a_word_of_the_option():
    for name in ("auto", "none", "Auto"):
        with pytest.raises(UsageError, match="cannot be a model's name"):
            own.check(name, [])
