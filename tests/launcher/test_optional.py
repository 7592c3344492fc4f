"""`--from-mix` with and without a model: what people type does what it looks like."""

import pytest

from sep_launcher import cli, session
from sep_launcher.words.optional import valued


@pytest.fixture
def here(home, tmp_path, monkeypatch):
    """A folder with songs, a folder and files that are called as models are."""
    monkeypatch.chdir(tmp_path)
    for name in ("song.mp3", "song", "htdemucs", "my.ckpt"):
        (tmp_path / name).touch()
    (tmp_path / "album").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "taken"),
    [
        # The end of the line, another option, and what is no word.
        ("song.mp3 --from-mix", "auto"),
        ("--from-mix -- song.mp3", "auto"),
        ("--from-mix --model x song.mp3", "auto"),
        ("song.mp3 --from-mix -m x", "auto"),
        # Files, folders and globs, there or not.
        ("--from-mix song.mp3", "auto"),
        ("--from-mix nope.flac", "auto"),
        ("--from-mix song", "auto"),
        ("--from-mix album", "auto"),
        ("--from-mix album/", "auto"),
        ("--from-mix nowhere/song", "auto"),
        ("--from-mix *", "auto"),
        ("--from-mix take[12]", "auto"),
        ("--from-mix take?", "auto"),
        # Models, also where a file has the name, and those that there are not.
        ("song.mp3 --from-mix htdemucs", "htdemucs"),
        ("--from-mix htdemucs song.mp3", "htdemucs"),
        ("song.mp3 --from-mix becruily-vocals", "becruily-vocals"),
        ("song.mp3 --from-mix htdemusc", "htdemusc"),
        ("song.mp3 --from-mix auto", "auto"),
        ("song.mp3 --from-mix none", "none"),
        ("song.mp3 --from-mix=song", "song"),
        # Checkpoints.
        ("song.mp3 --from-mix my.ckpt", "my.ckpt"),
        ("song.mp3 --from-mix nowhere/my.SafeTensors", "nowhere/my.SafeTensors"),
        ("song.mp3 --from-mix a --from-mix", "auto"),
    ],
)
def test_a_word_is_a_model_or_files(here, typed, taken):
    words = ["run", *typed.split()]
    found = valued(words)
    kept = [each for each in found if not each.startswith("--from-mix")]
    if f"--from-mix={taken}" in found:
        assert kept == [each for each in words if not each.startswith("--from-mix")][-len(kept) :]
    else:
        assert found == words
        assert found[found.index("--from-mix") + 1] == taken


@pytest.mark.parametrize(
    ("typed", "resume", "verify"),
    [
        ("song.mp3", False, False),
        ("song.mp3 --resume", True, False),
        ("--resume song.mp3", True, False),
        ("--resume verify", True, False),  # a file
        ("song.mp3 --resume=verify", True, True),
        ("--resume=verify song.mp3 --no-resume", False, True),
    ],
)
def test_what_is_resumed_may_be_verified(here, monkeypatch, typed, resume, verify):
    seen = []
    monkeypatch.setattr(session, "run", lambda make, *_, **__: seen.append(make()) or 0)
    assert cli.main(["run", *typed.split()]) == 0
    assert (seen[0].output.resume, seen[0].output.verify) == (resume, verify)
    assert seen[0].files == (("verify",) if typed == "--resume verify" else ("song.mp3",))


@pytest.mark.parametrize("typed", ["--resume=", "--resume=yes", "--resume-verify=1"])
def test_resume_has_no_other_value(here, capsys, typed):
    assert cli.main(["run", "song.mp3", typed]) == 2
    assert "--resume" in capsys.readouterr().err
    assert valued(["run", "--", "--resume=verify"]) == ["run", "--", "--resume=verify"]


def test_other_commands_are_left_alone(here):
    for words in (["bench", "--from-mix"], ["models", "list"], ["run", "--", "--from-mix"], []):
        assert valued(words) == words


@pytest.mark.parametrize(
    ("typed", "files", "model"),
    [
        ("song.mp3 --from-mix", ("song.mp3",), "auto"),
        ("--from-mix song.mp3", ("song.mp3",), "auto"),
        ("--from-mix song.mp3 --model x", ("song.mp3",), "auto"),
        ("song.mp3 --from-mix htdemucs --model x", ("song.mp3",), "htdemucs"),
        ("--from-mix htdemucs song.mp3 album", ("song.mp3", "album"), "htdemucs"),
        ("song.mp3", ("song.mp3",), None),
        ("song.mp3 --from-mix none", ("song.mp3",), None),
    ],
)
def test_the_command_hears_it_so(here, monkeypatch, typed, files, model):
    seen = []
    monkeypatch.setattr(session, "run", lambda make, *_, **__: seen.append(make()) or 0)
    assert cli.main(["run", *typed.split()]) == 0
    assert (seen[0].files, seen[0].from_mix) == (files, model)


def test_a_model_that_is_misspelt_is_told_as_that(here, capsys):
    assert cli.main(["run", "song.mp3", "--from-mix", "htdemusc"]) == 16
    assert "there is no model called 'htdemusc'" in capsys.readouterr().err
    assert cli.main(["run", "--from-mix", "nope.mp3", "--offline"]) == 3
    assert "there is no file nope.mp3" in capsys.readouterr().err
