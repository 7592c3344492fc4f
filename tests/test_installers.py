"""The installers are sound as scripts. What install.sh does, .ci/run shows in an empty HOME."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "installers"


def run(*arguments, home, **environment):
    return subprocess.run(
        ["sh", FOLDER / "install.sh", *arguments],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **environment},
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
    for each in ("sh", "uname", "dirname", "mkdir", "rm"):
        (tools / each).symlink_to(shutil.which(each))
    done = run("--no-setup", home=tmp_path / "home", PATH=str(tools))
    assert done.returncode == 1
    assert "Python 3.11 or newer was not found" in done.stderr


def test_uninstall_where_nothing_is(tmp_path):
    done = run("--uninstall", home=tmp_path)
    assert done.returncode == 0
    assert not list(tmp_path.iterdir())
