"""A run that lacks something: what is said, what is asked, and in which order it is done."""

import contextlib
from dataclasses import replace

import pytest

from sep_launcher.machine.host import Host, Native
from sep_launcher.setup import command, image, native, pull
from sep_launcher.setup.command import Lack
from sep_launcher.show.render import Style, Terminal
from sep_models import find
from sep_protocol.errors import ModelError, NotReadyError, UsageError

HOST = Host(system="linux", native=Native(python="/py", source="setup"))
SONGS = find("htdemucs-ft-drums")
NO_MODEL = ModelError("there is no model", hint="sep models pull htdemucs-ft-drums")
NOTHING = NotReadyError("nothing is set up", hint="run: sep setup")


@pytest.fixture
def done(home, monkeypatch):
    """What was done, in its order; nothing of it really is."""
    found = []
    monkeypatch.setattr(command, "probe", lambda: found.append("looked") or HOST)
    monkeypatch.setattr(command, "alone", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(native, "plan", lambda *_: "work")
    monkeypatch.setattr(native, "described", lambda _: ["an environment, 1 GB"])
    monkeypatch.setattr(native, "carry_out", lambda *_: found.append("set up"))
    monkeypatch.setattr(image, "plan", lambda *_: "image")
    monkeypatch.setattr(image, "described", lambda *_: ["an image, 2 GB"])
    monkeypatch.setattr(image, "carry_out", lambda *_: found.append("built"))
    monkeypatch.setattr(pull, "pull", lambda each, *_, **__: found.append(each.name))
    return found


@pytest.fixture
def asked(monkeypatch):
    """A person who gives an answer; returns what was asked."""
    questions = []

    def person(answer):
        monkeypatch.setattr(Terminal, "can_ask", property(lambda _: True))
        monkeypatch.setattr(Terminal, "ask", lambda _, text: questions.append(text) or answer)
        return questions

    return person


def offer(lack, *, yes=False, offline=False):
    command.offer(Terminal(Style()), lack, yes=yes, offline=offline)


@pytest.mark.parametrize(
    ("lack", "steps", "told"),
    [
        (Lack(why=NO_MODEL, models=(SONGS,)), [SONGS.name], ["htdemucs-ft-drums, 84 MB"]),
        (Lack(why=NOTHING, engine="native"), ["set up"], ["an environment, 1 GB"]),
        (
            Lack(why=NOTHING, engine="native", models=(SONGS,)),
            ["set up", SONGS.name],
            ["an environment, 1 GB", "htdemucs-ft-drums, 84 MB"],
        ),
        (
            Lack(why=NOTHING, engine="container", models=(SONGS,)),
            ["built", SONGS.name],
            ["an image, 2 GB", "htdemucs-ft-drums, 84 MB"],
        ),
    ],
)
def test_all_of_it_is_told_and_asked_once(done, asked, capsys, lack, steps, told):
    questions = asked(answer=True)
    offer(lack)
    assert questions == ["go on?"]
    assert [each for each in done if each != "looked"] == steps
    said = capsys.readouterr().err
    assert said.startswith(f"sep: {lack.why.message}\n")
    assert all(each in said for each in told)
    if lack.models:
        assert f"licence: {SONGS.licence}" in said
        assert f"from {SONGS.sources[0].urls[0]}" in said
    done.clear()
    offer(lack, yes=True)
    assert questions == ["go on?"]
    assert [each for each in done if each != "looked"] == steps


@pytest.mark.parametrize("lack", [Lack(why=NO_MODEL, models=(SONGS,)), Lack(why=NOTHING)])
def test_without_a_yes_nothing_is_done(done, asked, lack):
    with pytest.raises(type(lack.why)) as caught:
        offer(lack)
    assert caught.value.hint == f"{lack.why.hint}, or add --yes to have it done now"
    with pytest.raises(type(lack.why)) as caught:
        offer(lack, yes=True, offline=True)
    assert caught.value is lack.why
    asked(answer=False)
    with pytest.raises(type(lack.why)) as caught:
        offer(lack)
    assert caught.value is lack.why
    assert set(done) <= {"looked"}


def test_what_could_not_be_converted_is_not_asked(done, asked, monkeypatch):
    """Containers convert nothing: that is told before anything is fetched."""
    monkeypatch.setattr(command, "probe", lambda: replace(HOST, native=None))
    questions = asked(answer=True)
    for lack in (
        Lack(why=NO_MODEL, models=(SONGS,)),
        Lack(why=NOTHING, engine="container", models=(SONGS,)),
    ):
        with pytest.raises(NotReadyError, match="native environment"):
            offer(lack)
    assert (questions, done) == ([], [])


def test_a_name_that_is_taken_is_told_first(done, asked, monkeypatch):
    monkeypatch.setattr(pull.own, "find", lambda _: SONGS)
    with pytest.raises(UsageError, match="a model of yours is called"):
        offer(Lack(why=NO_MODEL, models=(SONGS,)), yes=True)
    assert done == []
