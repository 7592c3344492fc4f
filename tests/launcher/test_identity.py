"""The identity of stems: equal where they are the same, whatever made them where."""

from dataclasses import replace
from pathlib import Path

import pytest

import sep_models
from sep_launcher.planning import choice, models
from sep_launcher.planning.identity import identity, made
from sep_launcher.planning.request import Request
from sep_launcher.planning.route import Wanted
from sep_protocol import Output

FILES = [("a" * 64,)]
PLAIN = Request(files=("x",), out=Path("/out"))


def of(request, files=FILES, stems=("kick", "snare")):
    manifest = sep_models.find("mdx23c-mini")
    chosen = choice.only(choice.Model(name=manifest.name), manifest)
    return made(request, chosen, stems, files)


@pytest.mark.parametrize(
    "change",
    [
        {"batch": 4},
        {"wanted": Wanted(device="cuda:1", engine="container")},
        {"files": ("elsewhere",), "out": Path("/mnt")},
        {"fallback": False},
        {"memory": 1 << 30},
        {"overlap": sep_models.find("mdx23c-mini").overlap},
        {"output": Output(overwrite=True, resume=True, verify=True)},
        {"name": "{track} {stem}"},
    ],
    ids="+".join,
)
def test_what_changes_no_stem_is_not_in_it(change):
    assert of(replace(PLAIN, **change)) == of(PLAIN)


@pytest.mark.parametrize(
    "change",
    [
        {"overlap": 2.0},
        {"shifts": 2},
        {"precision": "fp32"},
        {"downmix": True},
        {"output": Output(format="flac")},
        {"output": Output(bit_depth="24")},
        {"output": Output(residual=True)},
        {"output": Output(intermediate=True), "from_mix": "auto"},
    ],
    ids="+".join,
)
def test_what_may_change_a_stem_is_in_it(change):
    assert of(replace(PLAIN, **change)) != of(PLAIN)


def test_stems_and_weights_are_in_it():
    assert of(PLAIN, stems=("kick",)) != of(PLAIN)
    assert of(PLAIN, files=[("b" * 64,)]) != of(PLAIN)
    few = [
        replace(PLAIN, output=Output(stems=each)) for each in (("hh", "kick"), ("kick", "hihat"))
    ]
    assert len({of(each, stems=()) for each in few}) == 1
    assert of(few[0], stems=()) != of(PLAIN, stems=())


def test_roles_and_shares_of_several_models_are_in_it():
    kit, mini = (
        choice.Pick(model=choice.Model(name=name), manifest=sep_models.find(name))
        for name in ("larsnet", "mdx23c-mini")
    )
    song = choice.Pick(model=choice.Model(name="x"), manifest=sep_models.find("htdemucs"))
    two = choice.Chosen(mean=(kit, mini))
    files = [("a",), ("b",)]
    asked = replace(PLAIN, model="larsnet", beside=("mdx23c-mini",))
    whole = made(asked, two, (), files)
    assert made(replace(asked, weights=(3.0, 3.0)), two, (), files) == whole
    assert made(replace(asked, weights=(2.0, 1.0)), two, (), files) != whole
    assert made(asked, two, (), files[::-1]) != whole
    after = choice.Chosen(mean=(mini,), first=song)
    assert made(PLAIN, after, (), files) != made(PLAIN, choice.Chosen(mean=(song, mini)), (), files)


def test_files_are_hashed_and_those_that_cannot_be_give_none(home, tmp_path):
    (tmp_path / "a.ckpt").write_bytes(b"weights")
    (tmp_path / "a.yaml").write_text("{}")
    request = replace(PLAIN, model=str(tmp_path / "a.ckpt"))
    with_settings = replace(request, model_config=tmp_path / "a.yaml")
    found = {identity(each, choice.choose(each), ()) for each in (request, with_settings)}
    (tmp_path / "a.ckpt").write_bytes(b"others")
    chosen = choice.choose(request)
    found.add(identity(request, chosen, ()))
    assert len(found) == 3
    assert all(len(each) == 64 for each in found)
    (tmp_path / "a.ckpt").unlink()
    assert identity(request, chosen, ()) == ""
    missing = replace(PLAIN, model="drumsep")
    assert identity(missing, choice.choose(missing), ()) == ""


def test_a_fetched_model_is_known_by_what_was_noted_of_it(home, monkeypatch):
    folder = home / "sep" / "models" / "larsnet"
    folder.mkdir(parents=True)
    (folder / sep_models.WEIGHTS).write_bytes(b"weights")
    request = replace(PLAIN, model="larsnet")
    read = identity(request, choice.choose(request), ())
    noted = models.digest(folder / sep_models.WEIGHTS)
    monkeypatch.setattr(models, "digest_of", lambda _: noted)
    monkeypatch.delattr(models, "digest")
    assert identity(request, choice.choose(request), ()) == read


def test_what_it_is_does_not_change_from_release_to_release():
    """Red where the recipe changed: every library would be looked at by its sound again."""
    manifest = replace(
        sep_models.find("mdx23c-mini"), stems=("kick",), network={"depth": 2}, chunk=1000
    )
    chosen = choice.only(choice.Model(name="x"), manifest)
    noted = "632ea3c18b78a00f6e30ce60291257adbe0187b4295618041ff7d497af57ed24"
    assert made(PLAIN, chosen, ("kick",), FILES) == noted
