"""The command line's words: help that says it all, hints that are the next thing to type."""

import inspect
import os
import shutil
import subprocess
import sys

import click
import pytest
import typer.main

import sep_models
from sep_launcher import cli, models_cli, options
from sep_launcher.show import layout
from sep_launcher.words import optional, slips, texts

COMMAND = typer.main.get_command(cli.app)
PAGES = [
    (),
    *((name,) for name in COMMAND.commands),
    *(("models", name) for name in COMMAND.commands["models"].commands),
]


@pytest.fixture
def said(home, tmp_path, monkeypatch, capsys):
    """Type a command in an empty folder; returns its code, standard output and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def type_(*argv):
        code = cli.main([*map(str, argv)])
        out, err = capsys.readouterr()
        return code, out, err

    return type_


def command_of(words):
    command = COMMAND
    for each in words:
        command = command.commands[each]
    return command


def test_every_option_has_a_text():
    """Whatever typer and click there are: 8.5 lost those of arguments, 8.4 said hints twice."""
    found = 0
    for name, each in vars(options).items():
        for info in getattr(each, "__metadata__", ()):
            assert info.help, name
            found += 1
    assert found > 40


@pytest.mark.parametrize("words", PAGES, ids=" ".join)
@pytest.mark.parametrize("width", [80, 60])
def test_help_shows_every_text_whole(said, monkeypatch, words, width):
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, err = said(*words, "--help")
    assert (code, err) == (0, "")
    flat = " ".join(out.split())
    for param in command_of(words).params:
        if getattr(param, "hidden", False):
            continue
        assert param.help.split("[")[0] in flat, param.name
        name = param.metavar if isinstance(param, click.Argument) else param.opts[0]
        assert name in out or any(each in out for each in param.secondary_opts), param.name
    for name, each in getattr(command_of(words), "commands", {}).items():
        first = inspect.cleandoc(each.help).split("\n")[0]
        assert f"{name} {first.removesuffix('.')}" in flat
    assert "..." not in out.replace("FILES...", "").replace("MODELS...", "").replace(
        "[ARGS]...", ""
    )
    texts_of_ours = [each for each in out.splitlines() if not each.startswith(("  sep ", "  /"))]
    assert max(map(len, texts_of_ours)) <= width
    assert not [each for each in out.splitlines() if each != each.rstrip()]


def test_help_of_run_is_in_sections_and_says_what_is_true_here(said, home):
    out = said("run", "--help")[1]
    heads = [each for each in out.splitlines() if each.endswith(":") and each[0] != " "]
    assert heads[:3] == ["Input:", "Output:", "Model:"]
    assert "Options:" not in heads  # each of them has its place
    flat = " ".join(out.split())
    assert "Without -m, mdx23c-mini is taken. It expects drums and makes kick, snare" in flat
    assert "hihat (or hh, hi-hat)" in flat
    assert f"\n  {home / 'sep' / 'config.toml'}\n" in out
    assert "SEP_MODEL" in out


def test_help_needs_no_home(said, monkeypatch):
    """Some containers have users whom their system does not know."""

    def nobody(*_, **__):
        raise RuntimeError

    monkeypatch.delenv("SEP_HOME")
    for each in ("user_data_dir", "user_config_dir"):
        monkeypatch.setattr(f"platformdirs.{each}", nobody)
    code, out, _ = said("run", "--help")
    assert (code, "SEP_MODEL" in out) == (0, True)
    assert said("run", "drums.wav")[0] == 3


def test_what_overlap_buys_is_what_the_card_says():
    card = (sep_models.folder_of("mdx23c-mini") / "card.md").read_text()
    assert "Overlap 1.25 costs at most 0.05 dB beside 2 and is 1.4 times as fast." in card
    told = options.Overlap.__metadata__[0].help
    assert "is 1.25: with 2 it gains at most 0.05 dB and takes 1.4 times as long" in told


@pytest.mark.parametrize(
    "text", [each for name, each in vars(texts).items() if name.isupper() and isinstance(each, str)]
)
def test_examples_are_understood(home, text):
    """Each is parsed to its end, and not done."""
    for line in text.splitlines():
        words = line.split("  ")[1].split() if line.startswith("  sep ") else []
        deep = 2 if words[1:2] == ["models"] else 1
        if words and not {">", "|", "--help"} & set(words):
            command = command_of(words[1 : deep + 1])
            typed = optional.valued(words[1:])[deep:]
            with command.make_context(words[deep], typed, resilient_parsing=False):
                pass


@pytest.mark.parametrize(
    ("typed", "message", "hint"),
    [
        ("drums.wav", "sep has no command 'drums.wav'", "sep run drums.wav"),
        ("DRUMS.MP3 --stems kick", "no command", "sep run DRUMS.MP3 --stems kick"),
        ("here", "no command", "sep run here"),
        ("*.wav", "no command", "sep run '*.wav'"),
        ("rum", "no command 'rum'", "did you mean 'run'?"),
        ("xyzzy", "no command", "sep --help"),
        ("help rum", "no command 'rum'", "did you mean 'run'?"),
        ("version", "no command", "sep --version"),
        ("update", "no command", "git pull, then"),
        ("upgrade", "no command", "git pull, then"),
        ("uninstall", "no command", "ninstall"),
        ("list", "no command", "sep models list"),
        ("pull", "no command", "sep models pull NAME"),
        ("pull larsnet", "no command", "sep models pull larsnet"),
        ("separate a.wav", "no command", "sep run a.wav"),
        ("install", "no command", "sep setup"),
        ("info", "no command", "sep doctor"),
        ("models ls", "sep models has no command 'ls'", "sep models list"),
        ("models larsnet", "no command", "sep models info larsnet"),
        ("models inof", "no command", "did you mean 'info'?"),
        ("models show larsnet", "no command", "sep models info larsnet"),
        ("models add my.ckpt", "no command", "sep models import my.ckpt"),
        ("--json run a.wav", "sep has no option --json", "after the command: sep run ... --json"),
        ("models --json list", "no option", "after the command: sep models list ... --json"),
        ("run a.wav --frmat flac", "sep run has no option --frmat", "did you mean --format?"),
        ("run a.wav --two-stems drums", "no option", "--stems kick"),
        ("run a.wav --stems kick snare", "snare stands where a file should", "--stems ...,snare"),
        ("run a.wav --output o", "no option", "-o FOLDER"),
        ("run a.wav --model_name x", "no option", "-m NAME"),
        ("run a.wav -n x", "no option -n", "-m NAME"),
        ("run a.wav --use_tta", "no option", "--shifts 4"),
        ("run a.wav --extra_models b", "no option", "-m A,B"),
        ("run a.wav --mp3", "no option", "--format mp3"),
        ("run a.wav --half", "no option", "--precision fp16"),
        ("run a.wav --precision half", "invalid value for '--precision'", "sep run --help"),
        ("run a.wav --filename x", "no option", "--name '{track}/{stem}'"),
        ("run a.wav --format wav24", "invalid value for '--format'", "--format wav --bit-depth 24"),
        ("run a.wav --format xyz", "invalid value", "sep run --help"),
        ("run a.wav --bit-depth 32f", "invalid value", "--bit-depth float"),
        ("run", "no file was given", "sep run drums.wav"),
    ],
)
def test_a_slip_has_its_hint(said, tmp_path, typed, message, hint):
    (tmp_path / "here").mkdir()
    code, out, told = said(*typed.split())
    assert code == 2
    first, second, *more = told.splitlines()
    assert first.startswith("error: "), told
    assert message in first
    assert (hint in second, more) == (True, []), told
    assert told.lower().count("did you mean") == ("did you mean" in hint)
    assert (out == "") == ("--json" not in typed)


def test_hints_are_commands_that_exist():
    for hint in (*slips.COMMANDS.values(), *slips.MODEL_COMMANDS.values()):
        words = hint.split("sep ", 1)[-1].split()
        assert hint.startswith("in the folder") or words[0].strip(",") in (
            *COMMAND.commands,
            "--version",
        )
        if words[0] == "models":
            assert words[1] in COMMAND.commands["models"].commands


@pytest.mark.parametrize("typed", ["help run", "--help run", "-h run", "run -help", "run a --help"])
def test_help_is_found_wherever_it_is_asked_for(said, typed):
    code, out, _ = said(*typed.split())
    assert code == 0
    assert out.startswith("Usage: sep run")


def test_help_of_help(said):
    assert said("help")[1].startswith("Usage: sep ")
    assert said("help", "models", "pull")[1].startswith("Usage: sep models pull")


@pytest.fixture
def tab(sep):
    """Ask as the script of bash does: returns the lines of its answer."""

    def ask(*words):
        env = {
            "_SEP_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(words),
            "COMP_CWORD": str(len(words) - 1),
        }
        return sep(env=env).stdout.splitlines()

    return ask


def test_what_tab_offers(tab, home):
    (home / "sep").mkdir()
    (home / "sep" / "config.toml").write_text("damaged")  # whatever is in there
    assert tab("sep", "r") == ["plain,run", "plain,route"]
    assert tab("sep", "run", "--ov") == ["plain,--overlap", "plain,--overwrite"]
    assert tab("sep", "run", "-m", "mini") == ["plain,mini"]
    assert tab("sep", "run", "-m", "./my") == ["file,./my"]
    assert tab("sep", "run", "-m", "mini,lars") == ["plain,mini,larsnet"]
    assert tab("sep", "run", "--from-mix", "htdemucs-ft") == ["plain,htdemucs-ft-drums"]
    assert tab("sep", "run", "--from-mix", "htdemucs-v") == ["file,htdemucs-v"]  # it has no drums
    assert tab("sep", "run", "--from-mix", "--keep") == ["plain,--keep-intermediate"]
    assert tab("sep", "run", "--stems", "kick,s") == ["plain,kick,snare"]
    assert tab("sep", "run", "--format", "f") == ["plain,flac"]
    assert tab("sep", "run", "dru") == ["file,dru"]
    assert tab("sep", "run", "-o", "o") == ["file,o"]
    assert tab("sep", "models", "pull", "lars") == ["plain,larsnet"]


@pytest.fixture
def on_path(tmp_path):
    """The command as a shell finds it; returns the environment."""
    script = tmp_path / "bin" / "sep"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m sep_launcher "$@"\n')
    script.chmod(0o755)
    return {**os.environ, "PATH": f"{script.parent}:{os.environ['PATH']}"}


BASH = """
eval "$(sep completion bash)"
compopt() { :; }
COMP_WORDS=(sep run --overw); COMP_CWORD=2
_sep_completion sep
echo "${COMPREPLY[@]}"
complete -p sep
"""
FISH = "sep completion fish | source; complete -C 'sep run --overw'"


def test_bash_completes(home, on_path):
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH], env=on_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[0] == "--overwrite", done.stderr
    assert "_sep_completion" in done.stdout
    assert done.stderr == ""


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed here")
def test_fish_completes(home, on_path):
    done = subprocess.run(
        ["fish", "-c", FISH], env=on_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "--overwrite\tMake them again and replace what is there.\n"


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed here")
def test_zsh_takes_the_script(home, on_path):
    line = 'autoload -U compinit; compinit -u -D; eval "$(sep completion zsh)"; echo $_comps[sep]'
    done = subprocess.run(
        ["zsh", "-f", "-c", line], env=on_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "_sep_completion\n", done.stderr


def test_powershell_can_read_its_script(said):
    """It has never run there; at least it is PowerShell."""
    import tree_sitter
    import tree_sitter_powershell

    code, out, _ = said("completion", "powershell")
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
    assert code == 0
    assert not parser.parse(out.encode()).root_node.has_error
    assert "-CommandName sep " in out


def test_what_powershell_is_told(sep):
    env = {"_SEP_COMPLETE": "powershell_complete", "COMP_WORDS": "sep run --overw"}
    told = sep(env={**env, "COMP_WORD": "--overw"}).stdout
    assert told == "--overwrite\tMake them again and replace what is there.\n"


def test_a_shell_that_nobody_knows(said):
    code, _, told = said("completion", "tcsh")
    assert code == 2
    assert "'tcsh'" in told


@pytest.mark.parametrize("width", [80, 60])
def test_the_list_of_models_fits(said, monkeypatch, width):
    monkeypatch.setattr(layout, "columns", lambda _: width)
    _, out, _ = said("models", "list")
    assert max(map(len, out.splitlines())) <= (width if width == 80 else 64)
    for each in sep_models.catalogue():
        assert f"\n{each.name} " in out
    assert not [each for each in out.splitlines() if each != each.rstrip()]


def test_the_list_of_models_says_what_is_for_what(said):
    _, out, _ = said("models", "list")
    drums, songs = out.split("for a whole song")
    assert "for drums:" in drums
    for each in sep_models.catalogue():
        assert each.name in (drums if each.expects == "drums" else songs)
    (mini,) = [each for each in out.splitlines() if each.startswith("mdx23c-mini ")]
    assert mini.split()[-2:] == ["default", "MIT"]
    (pulled,) = [each for each in out.splitlines() if each.startswith("larsnet ")]
    assert "no, 590 MB" in pulled


def test_a_model_in_detail(said):
    _, out, _ = said("models", "info", "drumsep")
    manifest = sep_models.find("drumsep")
    for told in (
        *(manifest.name, manifest.summary, manifest.licence, manifest.expects, "438 MB", "hi-hat"),
        *(source.sha256 for source in manifest.sources),
        *(url for source in manifest.sources for url in source.urls),
        *("kick 16.7 dB", manifest.scored, f"sep models pull {manifest.name}"),
    ):
        assert told in out
    assert said("models", "info", "nope")[0] == 16
    assert '"scores": {"kick": 16.7' in said("models", "info", "drumsep", "--json")[1]


@pytest.mark.parametrize("manifest", sep_models.catalogue(), ids=lambda each: each.name)
def test_scores_are_those_of_the_card(manifest):
    card = (sep_models.folder_of(manifest.name) / "card.md").read_text()
    for score in manifest.scores.values():
        assert f"{score:.1f}" in card or f"{score:.2f}" in card
    assert bool(manifest.scores) == bool(manifest.scored)
    assert set(manifest.scores) <= {*manifest.stems, "cymbals"}  # two of them scored as one


def test_table_of_a_narrow_terminal_wraps_stems_alone(monkeypatch):
    monkeypatch.setattr(layout, "columns", lambda _: 72)
    lines = models_cli._table(sep_models.catalogue())
    at = next(i for i, each in enumerate(lines) if each.startswith("mdx23c-drumsep-6stem"))
    assert lines[at].endswith("not stated")
    assert lines[at + 1].strip() == "hihat ride"
