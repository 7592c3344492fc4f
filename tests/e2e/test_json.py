"""What scripts read keeps to its schema, whatever happens, and nothing in it is undocumented."""

import copy
import json
import re
from pathlib import Path

import jsonschema
import pytest
import soundfile

import sep_launcher.bench
import sep_launcher.library
import sep_launcher.show
import sep_protocol
from sep_launcher.show.layout import near
from sep_protocol.errors import ExitCode

PAGE = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")
SHOW = Path(sep_launcher.show.__file__).parent
PROTOCOL = Path(sep_protocol.__file__).parent
SCHEMAS = {
    "run": SHOW / "run.schema.json",
    "route": SHOW / "route.schema.json",
    "models": SHOW / "models.schema.json",
    "model": SHOW / "model.schema.json",
    "verify": SHOW / "verify.schema.json",
    "events": PROTOCOL / "events.schema.json",
    "report": PROTOCOL / "report.schema.json",
    "bench": Path(sep_launcher.bench.__file__).parent / "bench.schema.json",
    "status": Path(sep_launcher.library.__file__).parent / "status.schema.json",
}


def schema_of(name):
    return json.loads(SCHEMAS[name].read_text(encoding="utf-8"))


def strict(schema):
    """Return the schema for writers: what is not in it may not be written."""
    schema = copy.deepcopy(schema)
    for part in walked(schema):
        if "properties" in part:
            part["additionalProperties"] = False
    return schema


def walked(part):
    if isinstance(part, dict):
        yield part
        for each in part.values():
            yield from walked(each)
    elif isinstance(part, list):
        for each in part:
            yield from walked(each)


STRICT = {name: jsonschema.Draft202012Validator(strict(schema_of(name))) for name in SCHEMAS}


def check(name, found):
    STRICT[name].validate(found)
    if name == "events":
        assert found["event"] in schema_of(name)["$defs"]
    return found


def stream(text):
    """Return the events, which must end once, and in one way."""
    events = [check("events", json.loads(line)) for line in text.splitlines()]
    ends = [each["event"] in ("done", "failed") for each in events]
    assert ends == [False] * (len(events) - 1) + [True]
    return events


@pytest.fixture
def album(tmp_path, noise):
    (tmp_path / "album").mkdir()
    soundfile.write(tmp_path / "album" / "a.wav", noise(2, 9000).T * 3, 44100)
    soundfile.write(tmp_path / "album" / "b.wav", noise(2, 9000).T, 44100)
    return tmp_path / "album"


def test_a_batch_its_report_and_its_resumption(sep, album, with_tiny):
    run = ("run", "album", "--json", *with_tiny, "--bit-depth", "16")
    whole = check("run", json.loads(sep(*run).stdout))
    assert [each["done"] for each in whole["tracks"]] == [True, True]
    assert (whole["device"]["precision"], whole["device"]["batch"]) == ("fp32", 1)
    for each in whole["tracks"]:
        report = json.loads((Path(each["out"]) / "sep.json").read_text())
        assert check("report", report)["schema"] == whole["schema"] == 1
        # Nor is a report of before there was a number refused.
        del report["schema"]
        (Path(each["out"]) / "sep.json").write_text(json.dumps(report))
    (album / "c.wav").write_text("no audio")
    again = check("run", json.loads(sep(*run, "--resume", check=1).stdout))
    assert [each.get("resumed") for each in again["tracks"]] == [True, True, None]
    assert (again["exit_code"], again["error"]) == (1, None)


def test_documents_of_several_models(sep, album, toys):
    run = ("run", "album/a.wav", "--from-mix", "--model", "toy-kit,toy-kit-2", "--shifts", "2")
    whole = check("run", json.loads(sep(*run, "--json", "-o", "x").stdout))
    names = ["toy-song", "toy-kit", "toy-kit-2"]
    assert whole["model"] == "toy-song then toy-kit+toy-kit-2"
    assert [each["name"] for each in whole["models"]] == names
    report = json.loads((Path(whole["tracks"][0]["out"]) / "sep.json").read_text())
    assert [each["name"] for each in check("report", report)["models"]] == names
    assert report["model"]["name"] == whole["model"]
    events = stream(sep(*run, "--events").stdout)
    loaded = [each["model"] for each in events if each["event"] == "loaded"]
    assert list(dict.fromkeys(loaded)) == names
    steps = [each["done"] for each in events if each["event"] == "progress"]
    assert steps == sorted(steps)


def test_the_stream_of_a_batch(sep, album, with_tiny):
    (album / "c.wav").write_text("no audio")
    events = stream(sep("run", "album", "--events", *with_tiny, check=1).stdout)
    kinds = {each["event"] for each in events}
    assert kinds >= {
        "hello",
        "phase",
        "device",
        "loaded",
        "progress",
        "track-done",
        "track-failed",
        "done",
    }
    assert (events[-1]["done"], events[-1]["failed"]) == (2, 1)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("nope.wav", 3),
        ("album --no-such-option", 2),
        ("album --format flac --bit-depth float", 2),
        ("album --out=", 2),
        ("album -m nope", 16),
        ("album -m drumsep", 16),
        ("album --engine container", 11),
        ("album --stems bass", 2),
        ("album --device cuda:99", 13),
        ("album --dry-run", 0),
        ("album --dry-run -m nope", 16),
        ("", 2),
    ],
)
def test_every_early_end_is_told_to_scripts(sep, album, words, code):
    done = sep("run", *words.split(), "--events", check=None)
    last = stream(done.stdout)[-1]
    assert last["event"] == ("failed" if code else "done")
    assert done.returncode == (code or last.get("code", 0))
    assert last.get("code", 0) == code
    found = check("run", json.loads(sep("run", *words.split(), "--json", check=code).stdout))
    assert found["exit_code"] == code
    assert (found["error"] or {"message": None})["message"] == last.get("message")


def test_no_setup_is_told_to_scripts(sep, album, with_tiny):
    nowhere = {"SEP_RUNTIME_PYTHON": "/nowhere/python"}
    done = sep("run", "album", "--events", *with_tiny, check=12, env=nowhere)
    assert [each["event"] for each in stream(done.stdout)] == ["failed"]


def test_an_interrupt_is_the_last_event(long_run):
    process, _ = long_run()
    process.terminate()
    out, _ = process.communicate(timeout=60)
    last = stream("\n".join(out.splitlines()[-2:]))[-1]
    assert (last["event"], last["code"]) == ("failed", 130)


def test_a_last_word_that_is_not_true_is_no_end(sep, album, tmp_path):
    """The runtime says that all is done, and then dies: the stream says only that it failed."""
    liar = tmp_path / "liar"
    said = [
        sep_protocol.dump_event(each)
        for each in (
            sep_protocol.Hello(job="0a1b2c3d"),
            *(sep_protocol.TrackFailed(track=i, error="AudioError", message="m") for i in range(2)),
            sep_protocol.Done(done=0, failed=2, seconds=1.0),
        )
    ]
    liar.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(said) + "\nEND\nexit 7\n")
    liar.chmod(0o755)
    done = sep("run", "album", "--events", check=15, env={"SEP_RUNTIME_PYTHON": str(liar)})
    assert stream(done.stdout)[-1]["event"] == "failed"


def test_dry_runs(sep, album, with_tiny):
    sep("run", "album/a.wav", *with_tiny)
    for option, action in (("", "refuse"), ("--resume", "resume"), ("--overwrite", "replace")):
        words = ["run", "album", "--dry-run", "--json", *with_tiny, *filter(None, [option])]
        found = check("run", json.loads(sep(*words).stdout))
        assert [each["action"] for each in found["dry_run"]["tracks"]] == [action, "separate"]
        assert bool(found["dry_run"]["refused"]) == (action == "refuse")
        assert found["tracks"] == []


def test_other_documents(sep, with_tiny):
    check("route", json.loads(sep("route", "--json").stdout))
    check("models", json.loads(sep("models", "list", "--json").stdout))
    check("model", json.loads(sep("models", "info", "larsnet", "--json").stdout))
    whole = check("verify", json.loads(sep("models", "verify", "--json").stdout))
    assert [(each["name"], each["fault"]) for each in whole["models"]] == [("mdx23c-mini", "")]
    bench = sep("bench", "--seconds", "0.5", "--runs", "1", "--json", *with_tiny)
    assert check("bench", json.loads(bench.stdout))["rows"][0]["bench"]
    failed = sep("route", "--json", "--device", "mps", check=13)
    assert check("run", json.loads(failed.stdout))["error"]["code"] == 13


def test_what_runs_of_many_tracks_say_of_themselves(sep, album, with_tiny, tmp_path):
    (album / "c.wav").write_text("no audio")
    sep("run", "album", "-o", "out", "--shard", "0/1", *with_tiny, check=1)
    status = ("library", "status", "out", "--json")
    (run,) = check("status", json.loads(sep(*status, check=1).stdout))["runs"]
    assert (run["state"], run["done"], run["left"], run["exit_code"]) == ("ended", 2, 0, 1)
    assert [Path(each["mix"]).name for each in run["bad"]] == ["c.wav"]
    # As a run on another machine left it that was switched off in the middle.
    (kept,) = (tmp_path / "out" / ".sep-run").glob("*.json")
    noted = json.loads(kept.read_text())
    worker = {"name": "cpu", "node": "other", "device": "cpu", "mix": "/a.wav"}
    gone = {"host": "other", "ended": None, "exit_code": None, "workers": [worker], "updated": 1.0}
    kept.write_text(json.dumps(noted | gone))
    (run,) = check("status", json.loads(sep(*status, check=1).stdout))["runs"]
    assert (run["state"], run["workers"]) == ("silent", [worker])
    failed = sep("library", "status", "nowhere", "--json", check=3)
    assert check("run", json.loads(failed.stdout))["error"]["code"] == 3


def test_golden_events_keep_to_the_schema():
    golden = Path(__file__).parents[1] / "protocol" / "golden"
    for path in golden.glob("*.json"):
        if path.stem != "job":
            check("events", json.loads(path.read_text()))
    defined = set(schema_of("events")["$defs"]) - {
        *("Measured", "Operator", "Profiled", "Share", "Tuned")
    }
    assert defined == {path.stem for path in golden.iterdir()} - {"job"}


def test_readers_may_meet_what_is_new():
    for name in SCHEMAS:
        for part in walked(schema_of(name)):
            assert part.get("additionalProperties") is not False
    jsonschema.validate({"event": "from-the-future", "x": 1}, schema_of("events"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"event": "done", "x": 1}, schema_of("events"))
    codes = schema_of("run")["properties"]["exit_code"]["enum"]
    assert codes == [int(each) for each in ExitCode]


def sections():
    """Return the page's sections by the name of the schema that each names."""
    parts = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    named = {re.search(r"([a-z]+)\.schema\.json", each): each for each in parts}
    return {match[1]: each for match, each in named.items() if match}


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_example_of_the_page_is_valid(name):
    text = sections()[name]
    examples = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    if name == "events":
        assert len(examples) == 1
        examples = examples[0].splitlines()
    assert examples
    for each in examples:
        check(name, json.loads(each))


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_field_is_in_the_page(name):
    """In the words of its schema."""
    text = sections()[name]
    for part in walked(schema_of(name)):
        for field, about in part.get("properties", {}).items():
            assert isinstance(about, dict)
            assert f"| `{field}` | {about['description']} |" in text, field


def test_near_is_what_one_would_type(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert near(str(tmp_path / "a" / "b")) == str(Path("a", "b"))
    assert near("/elsewhere/b") == "/elsewhere/b"
