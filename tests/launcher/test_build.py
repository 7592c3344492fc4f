"""What people see of an image's build, which the daemon tells line by line."""

import pytest

from sep_launcher.setup import build
from sep_launcher.show.render import Style, Terminal
from sep_protocol.errors import NotReadyError, PathError

BASE = ["Step 1/20 : ARG BASE=python:3.13-slim", "Step 2/20 : FROM ${BASE} AS packages"]
PACKAGES = [
    " ---> 3a2fc8ee894b",
    "Step 3/20 : LABEL dev.sep.stage=unfinished",
    "Step 8/20 : COPY . /tmp/sep",
    "Step 9/20 : RUN set -eu; if ls /tmp/sep/certs",
    *(f"Collecting package{each}" for each in range(30)),
]
LAST = ["Step 10/20 : FROM ${BASE}", "Step 12/20 : COPY --from=packages", "Step 13/20 : RUN mkdir"]


def said(*lines, fault=None):
    yield from lines
    if fault:
        raise NotReadyError(fault)


def test_a_build_is_three_lines(capsys):
    build._follow(said(*BASE, *PACKAGES, *LAST), Terminal(Style()))
    told = capsys.readouterr().err.splitlines()
    assert [line[:3] for line in told] == ["1/3", "2/3", "3/3"]


def test_a_step_that_fails_shows_its_last_lines(capsys):
    fault = "The command '/bin/sh -c set -eu; if ls' returned a non-zero code: 1"
    lines = [
        *BASE,
        *PACKAGES,
        "\x1b[31mERROR: no match\x1b[0m",
        "Removing intermediate container x",
    ]
    with pytest.raises(NotReadyError) as caught:
        build._follow(said(*lines, fault=fault), Terminal(Style()))
    assert str(caught.value) == (
        "the image cannot be made (PyTorch and other packages): ERROR: no match"
    )
    assert caught.value.hint == build.AGAIN
    told = capsys.readouterr().err.splitlines()
    assert told[2:] == ["     ERROR: no match"]


def test_a_step_that_fails_without_a_word_has_the_daemons(capsys):
    with pytest.raises(NotReadyError, match=r"\(the image\): no space left on device"):
        build._follow(
            said(*BASE, *PACKAGES, *LAST, fault="no space left on device"), Terminal(Style())
        )
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_a_base_that_cannot_be_had(capsys):
    fault = 'Get "https://registry.example/v2/": dial tcp: lookup registry.example: no such host'
    with pytest.raises(NotReadyError, match="the base image cannot be fetched: Get") as caught:
        build._follow(said(*BASE, fault=fault), Terminal(Style()))
    assert "--base IMAGE" in caught.value.hint
    assert "--from-tar FILE" in caught.value.hint


def test_constraints_replace_no_other_file(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "sep-constraints.txt").symlink_to(tmp_path / "precious")
    assert "av==" in build.write_constraints(tmp_path).read_text()
    assert (tmp_path / "precious").read_text() == "mine"
    with pytest.raises(PathError, match="cannot be written"):
        build.write_constraints(tmp_path / "none")
