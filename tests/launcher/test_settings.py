"""Defaults of the user's own: typed, then variables, then the file, then ours."""

import json
import re
from pathlib import Path

import pytest

from sep_launcher import cli, options, session
from sep_launcher.words import settings

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
SHIPPED = ("launcher/sep_launcher", "runtime", "models/sep_models", "containers", "installers")


@pytest.fixture
def file(home):
    """Write the file of settings; returns its path."""
    path = home / "sep" / "config.toml"

    def write(text):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def request_of(home, monkeypatch):
    """Type `sep run` with these words; returns the request that comes of it."""
    seen = []

    def run(make, screen, **_):
        seen.append(make())
        return 0

    monkeypatch.setattr(session, "run", run)

    def type_(*argv):
        assert cli.main(["run", "drums.wav", *argv]) == 0
        return seen[-1]

    return type_


@pytest.fixture
def refused(home, capsys):
    """Type a command that is refused before anything is done; returns its code and stderr."""

    def type_(*argv):
        code = cli.main([*argv])
        return code, capsys.readouterr().err

    return type_


def test_what_counts_more(request_of, file, monkeypatch):
    assert request_of().overlap is None
    file("[run]\noverlap = 2\nout = 'of the file'\n")
    assert request_of().overlap == 2
    monkeypatch.setenv("SEP_OVERLAP", "3")
    assert request_of().overlap == 3
    assert request_of("--overlap", "4").overlap == 4
    monkeypatch.setenv("SEP_OVERLAP", "")
    assert request_of().overlap == 2
    assert request_of().out == Path("of the file")


@pytest.mark.parametrize(
    ("variable", "value", "read"),
    [
        ("SEP_MODEL", "mini", lambda request: request.model),
        ("SEP_MODEL", "mini,larsnet", lambda request: ",".join((request.model, *request.beside))),
        ("SEP_FROM_MIX", "htdemucs", lambda request: request.from_mix),
        ("SEP_SHIFTS", "4", lambda request: str(request.shifts)),
        ("SEP_OUT", "o", lambda request: str(request.out)),
        ("SEP_NAME", "{track} x/{stem}", lambda request: request.name),
        ("SEP_STEMS", "kick", lambda request: ",".join(request.output.stems)),
        ("SEP_FORMAT", "flac", lambda request: request.output.format),
        ("SEP_BIT_DEPTH", "16", lambda request: request.output.bit_depth),
        ("SEP_DEVICE", "cpu", lambda request: request.wanted.device),
        ("SEP_ENGINE", "native", lambda request: request.wanted.engine),
        ("SEP_OVERLAP", "1.5", lambda request: str(request.overlap)),
        ("SEP_PRECISION", "fp16", lambda request: request.precision),
    ],
)
def test_every_variable(request_of, monkeypatch, variable, value, read):
    monkeypatch.setenv(variable, value)
    assert read(request_of()) == value


def test_everything_that_the_file_can_have(request_of, file):
    file(
        "[run]\nmodel = 'mini'\nstems = 'kick,snare'\nformat = 'flac'\nbit-depth = 16\n"
        "residual = true\nfallback = false\nmemory = '4g'\nbatch = 2\nresume = true\n"
        "precision = 'bf16'\n"
    )
    request = request_of()
    assert (request.model, request.output.stems) == ("mini", ("kick", "snare"))
    assert (request.output.format, request.output.bit_depth) == ("flac", "16")
    assert (request.output.residual, request.output.resume, request.fallback) == (True, True, False)
    assert (request.memory, request.batch) == (4 << 30, 2)
    assert request.precision == "bf16"
    assert request_of("--precision", "auto").precision == "auto"
    taken_back = request_of("--no-residual", "--fallback")
    assert (taken_back.output.residual, taken_back.fallback) == (False, True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[run]\nmodle = 'x'\n", "[run] has no setting 'modle'"),
        ("[run]\njson = true\n", "[run] has no setting 'json'"),
        ("[run]\npaths = ['x']\n", "[run] has no setting 'paths'"),
        ("model = 'x'\n", "'model' is not a table"),
        ("[rum]\n", "'rum' is not a table"),
        ("run = 1\n", "run must be a table"),
        ("[run]\noverlap = 'two'\n", "overlap in [run] must be a number, not 'two'"),
        ("[run]\noverlap = true\n", "overlap in [run] must be a number, not True"),
        ("[run]\nresidual = 1\n", "residual in [run] must be true or false, not 1"),
        ("[run]\nout = 5\n", "out in [run] must be a text in quotes, not 5"),
        ("[run]\nout = ''\n", "out in [run] must be a text in quotes, not ''"),
        ("[run]\nformat = 'wav24'\n", "format in [run] must be one of wav, flac, mp3, ogg"),
        ("[run]\nbit-depth = 20\n", "bit-depth in [run] must be one of 16, 24, 32, float"),
        ("[run]\nprecision = 16\n", "precision in [run] must be one of auto, fp32, fp16, bf16"),
        ("[run\n", "is not TOML"),
        ("[run]\nout = '\udcff'\n", "is not TOML"),
    ],
)
def test_a_file_that_says_what_nobody_knows(refused, file, home, text, told):
    path = file("")
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    code, err = refused("run", "drums.wav")
    assert code == 2
    assert str(path) in err
    assert told in err
    assert refused("run", "--help")[0] == 0
    assert refused("models", "list")[0] == 0


def test_a_file_that_cannot_be_read(refused, file):
    path = file("")
    path.unlink()
    path.mkdir()
    code, err = refused("run", "drums.wav")
    assert code == 3
    assert f"{path} cannot be read" in err


def test_other_commands_have_tables_of_their_own(file, sep):
    file("[route]\ndevice = 'mps'\n[setup]\nmodel = ['nope']\n[bench]\nruns = 0\n")
    told = sep("route", check=13).stderr
    assert "there is no Apple GPU" in told
    assert "--device mps is from" in told
    assert "there is no model called 'nope'" in sep("setup", check=16).stderr
    assert "--runs must be from 1" in sep("bench", check=2).stderr
    assert "--model nope is from" in sep("setup", check=16).stderr


@pytest.mark.parametrize(
    ("given", "rows"),
    [
        ('device = ["mps", "cuda"]', 2),
        ('device = "mps,cuda"\noverlap = [1.25, "2"]', 4),
        ('device = "mps"\nbatch = 8', 1),
        ('device = ["mps", true]', 0),
        ('device = ["mps", ""]', 0),
    ],
)
def test_many_values_are_lists_or_texts_with_commas(file, sep, given, rows):
    file(f"[bench]\n{given}\n")
    done = sep("bench", "--json", check=13 if rows else 2)
    assert rows == len(json.loads(done.stdout).get("rows", []))
    if not rows:
        assert "must be one or a list" in done.stderr


def test_a_variable_holds_all_of_them(sep):
    env = {"SEP_DEVICE": "mps,cuda", "SEP_MODEL": "no such,model"}
    found = json.loads(sep("bench", "--json", env=env, check=16).stdout)
    assert [(each["model"], each["device"]) for each in found["rows"]] == [
        *(("no such", "mps"), ("no such", "cuda"), ("model", "mps"), ("model", "cuda"))
    ]


def test_where_a_value_is_from(file, sep):
    path = file("[run]\nformat = 'flac'\nfallback = false\n")
    env = {"SEP_MODEL": "nope"}
    done = sep("run", "drums.wav", "-v", env=env, check=16).stderr
    assert "--format flac is from " + str(path) in done
    assert f"--no-fallback is from {path}" in done
    assert "--model nope is from SEP_MODEL" in done
    assert "--format" not in sep("run", "drums.wav", "--format", "ogg", "-v", check=3).stderr
    told = sep("run", "drums.wav", env={"SEP_FORMAT": "mp5"}, check=2).stderr
    assert "(it is from SEP_FORMAT)" in told


def test_a_value_that_was_not_typed_may_be_why(sep, tmp_path):
    (tmp_path / "drums.wav").touch()
    env = {"SEP_MODEL": "nope"}
    assert "is from SEP_MODEL" in sep("run", "drums.wav", env=env, check=16).stderr
    done = sep("run", "drums.wav", "--json", env=env, check=16)
    assert json.loads(done.stdout)["exit_code"] == 16


def test_the_page_has_every_variable():
    """All that shipped code reads, and nothing else."""
    found = set()
    for folder in SHIPPED:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix not in (".safetensors", ".flac", ".png", ".pyc"):
                text = path.read_text(encoding="utf-8")
                found |= set(re.findall(r"(?<![A-Za-z_])SEP_[A-Z]+(?:_[A-Z]+)*", text))
    assert set(re.findall(r"^\| `(SEP_\w+)` \|", PAGE, re.MULTILINE)) == found
    for each in vars(options).values():
        for info in getattr(each, "__metadata__", ()):
            if info.envvar:
                option = "--" + info.envvar.removeprefix("SEP_").lower().replace("_", "-")
                assert f"| `{option}` |" in PAGE.split(f"| `{info.envvar}` |")[1].split("\n")[0]


def test_the_example_of_the_page_is_a_file_of_settings(file, request_of):
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    file(text)
    assert request_of().output.residual
    import typer.main

    for table in settings.TABLES:
        assert settings.defaults(typer.main.get_command(cli.app).commands[table], table)


def test_songs_may_be_the_rule(file, request_of):
    file("[run]\nfrom-mix = 'auto'\nkeep-intermediate = true\nweights = '2,1'\nmodel = 'a,b'\n")
    found = request_of()
    assert (found.from_mix, found.weights, found.output.intermediate) == ("auto", (2, 1), True)
    plain = request_of("--from-mix", "none")
    assert (plain.from_mix, plain.output.intermediate) == (None, False)
    assert request_of("--from-mix", "htdemucs").from_mix == "htdemucs"


def test_a_tilde_is_the_home(request_of, file, home):
    """No shell fills it in there, and nobody wants a folder of that name."""
    file("[run]\nout = '~/stems'\n")
    assert request_of().out == home / "stems"
    typed = request_of("--out=~/else", "--model=~/x.ckpt,~/y.ckpt", "--from-mix", "~/z.ckpt")
    assert (typed.out, typed.model) == (home / "else", str(home / "x.ckpt"))
    assert (typed.beside, typed.from_mix) == ((str(home / "y.ckpt"),), str(home / "z.ckpt"))
