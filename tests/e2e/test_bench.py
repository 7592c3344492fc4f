"""`sep bench` as people type it: rows, reports, profiles, comparisons, and what cannot be."""

import getpass
import json
import platform
import signal
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

import sep_launcher.bench
from sep_protocol import Failed, Hello, dump_event
from sep_protocol.errors import ExitCode

SCHEMA = json.loads(
    (Path(sep_launcher.bench.__file__).parent / "bench.schema.json").read_text(encoding="utf-8")
)
SHORT = ("--seconds", "0.5", "--runs", "1")


def checked(done):
    found = json.loads(done.stdout)
    jsonschema.validate(found, SCHEMA)
    return found


@pytest.fixture
def no_fp16(tmp_path):
    """A Python whose runtime refuses fp16, as that of a processor does."""
    said = [
        dump_event(Hello(job="0a1b2c3d")),
        dump_event(
            Failed(code=ExitCode.DEVICE, error="DeviceError", message="no fp16 here", hint="fp32")
        ),
    ]
    program = tmp_path / "python"
    program.write_text(
        "#!/bin/sh\nfor job; do :; done\n"
        'if grep -q \'"precision": "fp16"\' "$job"; then\n'
        f"cat <<'END'\n{chr(10).join(said)}\nEND\nexit 13\nfi\n"
        f'exec {sys.executable} "$@"\n'
    )
    program.chmod(0o755)
    return {"SEP_RUNTIME_PYTHON": str(program)}


@pytest.mark.slow
def test_every_combination_and_its_report(sep, with_tiny, tmp_path, home):
    done = sep(
        *("bench", "--device", "cpu", "--overlap", "2", "--overlap=4", "--report", "mine"),
        *("--json", *SHORT, *with_tiny),
    )
    found = checked(done)
    assert (found["exit_code"], found["error"]) == (0, None)
    assert [each["overlap"] for each in found["rows"]] == [2, 4]
    for each in found["rows"]:
        bench = each["bench"]
        assert bench["chunk"] / bench["hop"] == pytest.approx(each["overlap"], rel=0.01)
        assert bench["snr"] > 100  # dB: rounding, of fast ways
        assert set(bench["phases"]) == {"import", "load", "first", "decode", "network"}
        assert [scheme["scheme"] for scheme in bench["measured"]] == ["sep"]
        assert each["code"] == found["code"]
    folder = tmp_path / "mine"
    assert {each.name for each in folder.iterdir()} == {"bench.md", "bench.svg", "bench.json"}
    assert json.loads((folder / "bench.json").read_text()) == found
    assert "--model tiny.ckpt --model-config tiny.yaml" in found["command"]
    for each in folder.iterdir():
        text = each.read_text()
        for name in (str(home), str(tmp_path), platform.node(), str(with_tiny[1].parent)):
            assert len(name) < 4 or name not in text, each
        if getpass.getuser() not in ("root", "user", "runner"):
            assert getpass.getuser() not in text


def test_what_was_named_and_cannot_be_is_told(sep, with_tiny, no_fp16):
    asked = ("bench", "--device", "cpu", *SHORT, "--no-snr", *with_tiny)
    done = sep(*asked, "--precision", "fp32,fp16", env=no_fp16, check=13)
    assert "native cpu" in done.stdout
    assert "not measured: native cpu, fp16: no fp16 here" in done.stdout
    assert "error: no fp16 here" in done.stderr
    found = checked(sep(*asked, "--precision", "fp16", "--json", env=no_fp16, check=13))
    assert found["error"]["message"] == "no fp16 here"
    assert found["rows"][0]["bench"] is None


def test_a_device_that_is_not_here(sep, with_tiny):
    asked = ("bench", "--device", "cpu,mps", *SHORT, "--no-snr", *with_tiny)
    found = checked(sep(*asked, "--json", check=13))
    assert [bool(each["bench"]) for each in found["rows"]] == [True, False]
    assert "Apple GPU" in found["rows"][1]["error"]["message"]


def test_models_that_cannot_be(sep, tmp_path):
    done = sep("bench", "--model", "nope,drumsep,larsnet", *SHORT, "--json", check=16)
    found = checked(done)
    assert [each["error"]["error"] for each in found["rows"]] == ["ModelError"] * 3
    assert found["rows"][1]["model"] == "drumsep"
    # What was to be written is not left half done.
    sep("bench", "--model", "nope", *SHORT, "--report", "x", check=16)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("--seconds nan", 2, "--seconds"),
        ("--seconds 1e300", 2, "--seconds"),
        ("--runs 9999999999999", 2, "--runs"),
        ("--precision fp8", 2, "--precision knows no 'fp8'"),
        ("--device cpu,,mps", 2, "--device has an empty value"),
        ("--profile --overlap 2,4 --report new", 2, "these are 2"),
        ("--trace x.json", 2, "add --profile"),
        ("--profile --trace there.json", 3, "there.json is there already"),
        ("--report there", 3, "is there already"),
        ("--report there.json", 3, "cannot be written"),
        ("--report there.json/below", 3, "cannot be written"),
        ("--compare there.json", 2, "--compare"),
        ("--compare nope.json there.json", 3, "nope.json cannot be read"),
        ("--compare there.json there.json --json", 2, "--compare measures"),
        ("--compare there.json there", 2, "there.json is not a document of sep bench"),
        ("--model-config x.yaml", 2, "--model-config"),
    ],
)
def test_what_cannot_be_is_told_before_any_work(sep, tmp_path, words, code, told):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "bench.json").write_text("{}")
    (tmp_path / "there.json").write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    assert told in sep("bench", *words.split(), check=code).stderr
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "there.json").read_text() == "{}"


def test_a_profile_says_what_takes_the_time(sep, with_tiny, tmp_path):
    asked = ("bench", "--profile", "--tuning", *SHORT, "--no-snr", *with_tiny)
    done = sep(*asked, "--device", "cpu", "--report", "why")
    assert "convolutions" in done.stdout
    assert "between operators" in done.stdout
    names = {each.name for each in (tmp_path / "why").iterdir()}
    assert names == {"bench.md", "bench.svg", "bench.json", "trace.json"}
    trace = (tmp_path / "why" / "trace.json").read_text()
    assert json.loads(trace)["traceEvents"]
    assert str(tmp_path) not in trace
    assert "ui.perfetto.dev" in (tmp_path / "why" / "bench.md").read_text()


@pytest.mark.slow
def test_two_reports_side_by_side(sep, with_tiny, tmp_path):
    for name, overlaps in (("mine", "2,4"), ("theirs", "2,3")):
        asked = ("bench", "--device", "cpu", "--overlap", overlaps, "--no-snr", *SHORT, *with_tiny)
        sep(*asked, "--report", name)
    done = sep("bench", "--compare", "mine", tmp_path / "theirs" / "bench.json")
    told = [line.split() for line in done.stdout.splitlines()]
    assert [line for line in told if line[:2] == ["native", "cpu"]]
    only = [line for line in told if line[0] in ("A", "B") and "native" in line]
    assert [(line[0], line[5]) for line in only] == [("A", "4"), ("B", "3")]
    assert done.stderr == ""


@pytest.mark.slow
def test_an_interrupt_keeps_what_was_measured(home, tmp_path, with_tiny):
    process = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "sep_launcher", "bench", "--device", "cpu", "--no-snr"),
            *("--seconds", "60", "--runs", "1", "--overlap", "1,512", "--json"),
            *("--report", "mine", *with_tiny),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    for line in process.stderr:
        if line.startswith("2/2"):
            break
    process.send_signal(signal.SIGINT)
    out, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    found = json.loads(out)
    assert [bool(each["bench"]) for each in found["rows"]] == [True, False]
    assert found["error"]["code"] == 130
    assert json.loads((tmp_path / "mine" / "bench.json").read_text()) == found


@pytest.mark.slow
def test_whole_commands_and_baselines(sep, with_tiny):
    asked = ("bench", "--device", "cpu", *SHORT, "--whole", "--baselines", *with_tiny)
    done = sep(*asked, timeout=900)
    for words in ("demix", "uvr", "whole command", "flac"):
        assert words in done.stdout
    row = checked(sep(*asked, "--json", timeout=900))["rows"][0]
    assert [each["scheme"] for each in row["bench"]["measured"]] == ["sep", "demix", "uvr"]
    assert [each["format"] for each in row["whole"]] == ["wav", "flac"]
    for each in row["whole"]:
        assert each["seconds"] > row["bench"]["measured"][0]["seconds"]
        assert {"import", "load", "decode", "network", "encode"} <= set(each["phases"])


@pytest.mark.slow
def test_the_bundled_model(sep, tmp_path):
    found = checked(sep("bench", "--device", "cpu", "--seconds", "2", "--runs", "1", "--json"))
    row = found["rows"][0]
    assert row["model"] == "mdx23c-mini"
    assert row["bench"]["snr"] > 60
