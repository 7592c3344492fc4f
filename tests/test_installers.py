"""The installers are sound as scripts. What install.sh does, .ci/run shows in an empty HOME."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "installers"


def run(*arguments, home, cwd=None, **environment):
    env = {"PATH": os.environ["PATH"], "HOME": home and str(home), **environment}
    return subprocess.run(
        ["sh", FOLDER / "install.sh", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={name: value for name, value in env.items() if value is not None},
        check=False,
    )


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed here")
def test_install_sh_passes_shellcheck():
    subprocess.run(["shellcheck", FOLDER / "install.sh"], check=True)


def test_install_ps1_parses():
    """It has never run on Windows; at least it is PowerShell."""
    import tree_sitter
    import tree_sitter_powershell

    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
    text = (FOLDER / "install.ps1").read_bytes()
    assert not parser.parse(text).root_node.has_error
    assert parser.parse(text.replace(b"}", b"", 1)).root_node.has_error  # it would show


def test_both_know_the_same_words():
    shell, power = ((FOLDER / f"install.{each}").read_text() for each in ("sh", "ps1"))
    for variable in ("SEP_HOME", "SEP_FROM", "SEP_NO_SETUP", "SEP_UNINSTALL"):
        assert variable in shell
        assert variable in power
    assert "sudo " not in re.sub(r"(?m)^#.*|.*die .*|.*apt install.*", "", shell)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--from", "/nowhere"], "there is no /nowhere"),
        (["--from"], "--from needs a value"),
        (["--bin", ""], "--bin needs a value"),
        (["--bogus"], "unknown option --bogus"),
    ],
)
def test_wrong_options(tmp_path, arguments, told):
    done = run(*arguments, home=tmp_path)
    assert done.returncode == 1
    assert told in done.stderr
    assert not list(tmp_path.iterdir())


def test_no_python_is_told(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for each in ("sh", "uname", "dirname", "sed"):
        (tools / each).symlink_to(shutil.which(each))
    done = run("--no-setup", home=tmp_path / "home", PATH=str(tools))
    assert done.returncode == 1
    assert "Python 3.11 or newer was not found" in done.stderr


PLANTED = """
import pathlib
pathlib.Path({proof!r}).touch()
raise SystemExit("planted")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    from sep_launcher.setup.wheel import wheel_of_this

    return wheel_of_this(tmp_path_factory.mktemp("wheel"))


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_installed_into_any_home_from_any_folder_and_away_again(tmp_path, wheel):
    """Into a home of shell's own signs, from a folder of somebody who waits for that."""
    home = tmp_path / """me "$(touch PWNED)" `touch PWNED` it's \\ ${x} & ; *"""
    here = tmp_path / "here"
    (here / "sep here").mkdir(parents=True)
    for name in ("venv", "pip", "ensurepip", "sitecustomize", "site"):
        (here / f"{name}.py").write_text(PLANTED.format(proof=str(here / "PWNED")))
    (here / "uv.toml").write_text("[planted")
    (here / ".python-version").write_text("2.7")
    shutil.copy(wheel, here / "sep here")
    kept = home / ".local" / "bin" / "mine"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    before = files(here)
    relative = str(Path("sep here") / wheel.name)
    done = run("--no-setup", "--from", relative, home=home, cwd=here)
    assert done.returncode == 0, done.stderr
    # What is to be pasted into a profile is one line that says this folder, too.
    line = next(each for each in done.stdout.splitlines() if "export PATH=" in each)
    env = {"PATH": os.environ["PATH"], "HOME": str(home)}
    told = subprocess.run(
        ["sh", "-c", f"{line}; sep --version; command -v sep"],
        capture_output=True,
        text=True,
        cwd=here,
        env=env,
        check=True,
    )
    assert told.stdout.startswith("sep ")
    assert told.stdout.splitlines()[1] == str(kept.with_name("sep"))
    assert files(here) == before
    # Again, over what is there; then everything goes, and nothing else.
    assert run("--no-setup", "--from", str(wheel), home=home, cwd=here).returncode == 0
    done = run("--uninstall", home=home, cwd=here)
    assert done.returncode == 0, done.stderr
    # pip asks rustc its version
    assert {each for each in files(home) if ".rustup" not in each} == {".local/bin/mine"}
    assert files(here) == before


@pytest.mark.parametrize("kind", ["file", "link", "dangling", "folder"])
def test_a_command_of_the_same_name_stays(tmp_path, kind, wheel):
    home = tmp_path / "home"
    command = home / ".local" / "bin" / "sep"
    command.parent.mkdir(parents=True)
    if kind == "folder":
        command.mkdir()
    elif kind == "file":
        command.write_text("#!/bin/sh\n# mine, not made by sep install.sh\n")
    else:
        command.symlink_to(tmp_path / "other")
        if kind == "link":
            (tmp_path / "other").write_text("#!/bin/sh\n# made by sep install.sh\n")
    done = run("--no-setup", "--from", str(wheel), home=home)
    assert done.returncode == 1
    assert f"there is another {command}" in done.stderr
    assert "--bin DIR" in done.stderr
    assert not (home / ".local" / "share").exists()
    done = run("--uninstall", home=home)
    assert done.returncode == 0
    assert os.path.lexists(command)
    if kind != "folder":
        assert f"kept: {command}" in done.stdout


@pytest.mark.parametrize("name", ["launcher", "launcher.new"])
def test_a_folder_of_the_same_name_stays(tmp_path, name, wheel):
    theirs = tmp_path / "root" / name / "bin" / "python"
    theirs.parent.mkdir(parents=True)
    theirs.write_text(f"#!/bin/sh\ntouch '{tmp_path}/PWNED'\n")
    theirs.chmod(0o755)
    place = {"SEP_HOME": str(tmp_path / "root")}
    done = run("--no-setup", "--from", str(wheel), home=tmp_path / "home", **place)
    assert done.returncode == 1
    assert f"{name} was not made by this installer" in done.stderr
    assert run("--uninstall", home=tmp_path / "home", **place).returncode == 0
    assert theirs.exists()
    assert not (tmp_path / "PWNED").exists()


def test_the_command_of_another_installation_stays(tmp_path):
    command = tmp_path / "bin" / "sep"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\n# made by sep install.sh\nexec '/other/launcher/bin/python'\n")
    assert run("--uninstall", "--bin", str(command.parent), home=tmp_path).returncode == 0
    assert command.exists()


@pytest.mark.parametrize(
    ("home", "environment", "told"),
    [
        (None, {}, "HOME is not set"),
        ("", {}, "HOME is not set"),
        ("me", {}, "HOME is not an absolute path: me"),
        ("/home/a\nb", {}, "HOME has a line break"),
        ("/home/a\n", {}, "HOME has a line break"),
        ("/home/a:b", {}, "a folder with a colon"),
        ("/home/me", {"SEP_HOME": "me"}, "SEP_HOME is not an absolute path: me"),
        ("/home/me", {"SEP_HOME": "/me\n$(touch PWNED)"}, "SEP_HOME has a line break"),
        ("/home/me", {"XDG_DATA_HOME": "me"}, "XDG_DATA_HOME is not an absolute path"),
        ("/home/me", {"SEP_BIN": "/me\nyou"}, "--bin has a line break"),
        (None, {"SEP_HOME": "/me"}, "HOME is not set"),  # the command goes there
    ],
)
@pytest.mark.parametrize("what", ["--no-setup", "--uninstall"])
def test_places_that_cannot_be_are_refused(tmp_path, home, environment, told, what):
    done = run(what, home=home, cwd=tmp_path, **environment)
    assert done.returncode == 1
    assert told in done.stderr
    assert not list(tmp_path.iterdir())


def test_without_a_home_other_places_do(tmp_path):
    done = run("--uninstall", "--bin", "bin", home=None, cwd=tmp_path, SEP_HOME=str(tmp_path / "s"))
    assert done.returncode == 0, done.stderr


def test_read_from_a_pipe_it_installs_nothing_that_lies_around(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'planted'\n")
    (tmp_path / "here").mkdir()
    done = subprocess.run(
        ["sh", "-s", "--", "--no-setup"],
        input=(FOLDER / "install.sh").read_text(),
        capture_output=True,
        text=True,
        cwd=tmp_path / "here",
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 1
    assert "--from must name sep's folder or wheel" in done.stderr


def test_a_python_that_is_named_and_none(tmp_path):
    done = run("--no-setup", home=tmp_path, SEP_PYTHON="/bin/false")
    assert "SEP_PYTHON is no Python 3.11 or newer: /bin/false" in done.stderr


def test_uninstall_where_nothing_is(tmp_path):
    done = run("--uninstall", home=tmp_path)
    assert done.returncode == 0
    assert not list(tmp_path.iterdir())


@pytest.fixture
def failing_uv(tmp_path, monkeypatch):
    """A uv that says much, is interrupted or not, and fails."""
    folder = tmp_path / "tools"
    folder.mkdir()
    uv = folder / "uv"
    uv.write_text(
        f"#!/bin/sh\ntrap 'echo Traceback; exit 1' INT\nseq 30\ntouch '{tmp_path}/begun'\n"
        'for _ in $(seq "${SLOWLY:-0}"); do sleep 0.1; done\nexit 1\n'
    )
    uv.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_what_fails_shows_its_last_lines(tmp_path, failing_uv, wheel, shell):
    done = start(tmp_path, failing_uv, wheel, shell)
    out, err = done.communicate(timeout=60)
    assert done.returncode == 1
    told = err.splitlines()
    assert told[:-1] == [str(each) for each in range(21, 31)]
    assert "run this again" in told[-1]
    assert len(out.splitlines()) == 1
    assert not list((tmp_path / "root").iterdir())


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_what_is_interrupted_says_nothing_more(tmp_path, failing_uv, wheel, shell):
    """Ctrl-C at a terminal reaches the whole group; what it ends has words of its own for that."""
    done = start(tmp_path, failing_uv, wheel, shell, SLOWLY="300")
    while not (tmp_path / "begun").exists():
        time.sleep(0.02)
    os.killpg(done.pid, signal.SIGINT)
    _, err = done.communicate(timeout=60)
    assert done.returncode == 130
    assert err == ""
    assert not list((tmp_path / "root").iterdir())


def start(tmp_path, path, wheel, shell, **environment):
    return subprocess.Popen(
        [shell, FOLDER / "install.sh", "--no-setup", "--from", str(wheel), "--bin", tmp_path / "b"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={
            "PATH": path,
            "HOME": str(tmp_path),
            "SEP_HOME": str(tmp_path / "root"),
            **environment,
        },
    )
