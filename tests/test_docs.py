"""The documents are true: commands exist, code runs, codes and rooms are complete."""

import importlib.util
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import soundfile
import yaml

import sep_models
from sep_protocol import Install, Model
from sep_protocol.errors import ExitCode
from sep_runtime.models.install import install

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
LIBRARIES = (ROOT / "docs" / "libraries.md").read_text(encoding="utf-8")

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def blocks(kind, text=README):
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def commands():
    """Every line of the documents that begins with `sep`, or with variables for it."""
    found = {}
    for page in PAGES:
        for block in blocks("text", page.read_text(encoding="utf-8")):
            for line in block.splitlines():
                if re.match(r"([A-Z_]+=\S+ )*sep ", line):
                    found[re.split(r"\s{2,}", line)[0]] = page.name
    return found


def test_python_of_the_readme_runs(tmp_path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for code in blocks("python"):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        told = re.findall(r"print\(.*#\s*(\([^)]*\))", code)
        assert done.stdout.splitlines() == told


def test_python_of_its_page_runs(home, tmp_path, tiny):
    """The blocks are one program, on a clip of a second and a half; what it prints is beside it.

    A small network of the user's stands in for htdemucs.
    """
    stand_in(tiny, home / "sep" / "models" / "htdemucs")
    mix, rate = soundfile.read(ROOT / "examples" / "groove.flac", frames=66150)
    for name in ("drums", "song"):
        soundfile.write(tmp_path / f"{name}.wav", mix, rate, "PCM_24")
    code = "\n".join(blocks("python", (ROOT / "docs" / "python.md").read_text(encoding="utf-8")))
    (tmp_path / "page.py").write_text(code.replace("load()", 'load(device="cpu")'))
    done = subprocess.run(
        [sys.executable, "-W", "error", "page.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = re.findall(r"print\(.*\)  # (.*)", code)
    assert [line for line in done.stdout.splitlines() if "%" not in line] == told
    assert len(list(tmp_path.glob("separated/song/*.wav"))) == 6
    saved = list(tmp_path.glob("separated/*.wav"))
    assert len(saved) == 5
    for whole in saved:
        by_blocks = soundfile.read(tmp_path / whole.name)[0]
        assert abs(by_blocks - soundfile.read(whole)[0]).max() < 2**-22  # a step of 24 bit


def stand_in(tiny, folder):
    """Put a model of the user's there, as an import does, which makes the stems of a song."""
    ckpt, yaml = tiny
    settings = json.loads(yaml.read_text())
    settings["training"]["instruments"] = ["drums", "bass", "other", "vocals", "piano"]
    found = folder.parent / "song.yaml"
    folder.mkdir(parents=True)
    found.write_text(json.dumps(settings))
    model = Model(name="htdemucs", checkpoint=str(ckpt), settings=str(found))
    install(Install(files=(), folder=str(folder)), model)


@pytest.mark.parametrize("command", commands())
def test_commands_of_the_documents_are_understood(command, home, tmp_path):
    """Every option exists: what is missing are only the files that the examples name."""
    if "sep setup" in command:
        command += " --dry-run"
    if any(word in command for word in ("sep ui", "sep bench", "--deep")):
        command += " --help"  # they would serve or work for long; tests/ui and tests/e2e have them
    (tmp_path / "house").mkdir()
    done = subprocess.run(
        ["bash", "-c", command.replace("sep ", f"{sys.executable} -m sep_launcher ", 1)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    # 11: no Docker here. 12: not set up, 13: no GPU, 16: no such model here, 2: nobody to say yes.
    assert done.returncode in (0, 3, 11, 12, 13, 16) or "nothing was done" in done.stderr


@pytest.fixture
def songs(tmp_path):
    """The songs of the page on libraries, a second of drums each, and a file that is none."""
    mix, rate = soundfile.read(ROOT / "examples" / "groove.flac", frames=44100)
    (tmp_path / "library" / "b").mkdir(parents=True)
    for name in ("chorus", "intro", "verse", "b/fill", "b/outro"):
        soundfile.write(tmp_path / "library" / f"{name}.wav", mix, rate)
    return tmp_path / "library"


def masked(lines):
    """Return what was printed without what differs: times, sizes, the machine, the order."""
    text = "\n".join(lines).replace(platform.node(), "studio")
    text = re.sub(r"on the [^,]+, ", "there, ", text)
    return sorted(re.sub(r"\d[\d.]*( ([kMGT]?B|s|min|h)\b|x\b)?", "0", text).splitlines())


def shown(begin):
    """Return the block of the page on libraries that begins in this way."""
    found = [each for each in blocks("text", LIBRARIES) if each.lstrip().startswith(begin)]
    assert len(found) == 1
    return found[0].splitlines()


@pytest.mark.slow
def test_shards_of_the_page_on_libraries(home, tmp_path, songs):
    """Three runs in the background, as the page has them; the parts are what it shows."""
    (songs / "notes.wav").write_text("no audio")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "sep"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m sep_launcher "$@"\n')
    program.chmod(0o755)
    (script,) = blocks("sh", LIBRARIES)
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    logs = "".join(each.read_text() for each in sorted(tmp_path.glob("part-*.log")))
    assert done.returncode == 1, done.stderr + logs  # notes.wav
    assert masked(done.stdout.splitlines()) == masked(shown("shard 0/3"))
    assert re.findall(r"shard (\d/3: \d) of 6 tracks", logs) == ["0/3: 1", "1/3: 3", "2/3: 2"]
    assert len(list((tmp_path / "stems").rglob("sep.json"))) == 5


def test_what_the_page_on_libraries_shows_is_printed(home, tmp_path, songs, monkeypatch):
    spec = importlib.util.spec_from_file_location("fake", ROOT / "tests" / "fake_runtime.py")
    fake = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fake)
    monkeypatch.setenv("SEP_RUNTIME_PYTHON", fake.installed(tmp_path))
    run = "sep run library -o stems -j 2"
    assert f"\n{run} " in LIBRARIES
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sep_launcher", *shlex.split(run)[1:]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    told = [each for each in done.stderr.splitlines() if each.strip()]
    assert masked(told) == masked(shown("about "))


def test_every_block_is_tested_somehow():
    """Python, settings, sep run; `sh` is what .ci/run runs; other lines name files that are here.

    What `pip download` fetches, tests/e2e/test_setup.py installs. JSON: tests/e2e/test_json.py.
    """
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        kinds = re.findall(r"^```(\w*)$", text, re.MULTILINE)[::2]
        runs = {
            "README.md": {"python", "sh"},
            "json.md": {"json"},
            "python.md": {"python"},
            "settings.md": {"toml"},
            "cluster.md": {"bash", "yaml"},
            "libraries.md": {"sh", "bash", "yaml", "json", "groovy"},
        }.get(page.name, set())
        assert set(kinds) <= {"text", *runs}
        for line in "\n".join(blocks("text", text)).splitlines():
            programs = "git|sep|sh|pytest|python|pip|powershell|docker|demucs"
            printed = r"separated/|drums\.wav: |done: | +kick\.wav |"
            if page.name == "libraries.md":  # held to what is printed by tests above
                printed += (
                    r"\d+/\d+ |5 tracks: | +about |shard \d/3: |  \d of |  failed: |all shards: |"
                )
            known = rf"([A-Z_]+=.* )*({programs}) |{printed}$"
            assert page.name == "architecture.md" or re.match(known, line), line
            if re.match(r"(git pull && )?(sh|pytest|python|powershell) ", line):
                named = [each for each in line.split() if re.search(r"[/\\].*\.\w+$", each)]
                assert named, line
                for each in named:
                    assert (ROOT / each.replace("\\", "/")).exists(), line
    assert len(blocks("sh")) == 2


def machines():
    """Every line for machines that we do not have in which sep is run, and its page."""
    found = []
    for name in ("cluster.md", "libraries.md"):
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        for script in (*blocks("bash", text), *blocks("groovy", text)):
            whole = script.replace("\\\n", " ")
            found += re.findall(r"\bsep run .*?(?=:::|$)", whole, re.MULTILINE)
        for manifest in map(yaml.safe_load, blocks("yaml", text)):
            spec = manifest["spec"]
            if manifest["kind"] == "RayJob":
                found.append(spec["entrypoint"])
                continue
            assert spec["completionMode"] == "Indexed"
            (container,) = spec["template"]["spec"]["containers"]
            found.append(shlex.join(["sep", *container["args"]]))
        for document in map(json.loads, blocks("json", text)):
            shell, _, command = document["containerOverrides"]["command"]
            assert shell == "sh"
            found.append(command.removeprefix("exec "))
    return found


def test_scripts_for_other_machines_are_written_right():
    """Their form is all that can be held here."""
    for name in ("cluster.md", "libraries.md"):
        for script in blocks("bash", (ROOT / "docs" / name).read_text(encoding="utf-8")):
            subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    (flow,) = blocks("groovy", LIBRARIES)
    for opening, closing in ("{}", "()"):
        assert flow.count(opening) == flow.count(closing)
    (part,) = [each for each in machines() if "${part}" in each]
    subprocess.run(["bash", "-n"], input=part, text=True, check=True)
    assert len(machines()) == 8


@pytest.mark.parametrize("line", machines())
def test_what_they_run_is_understood(line, home, tmp_path):
    """Options and parts exist: what is missing are the songs."""
    line = re.sub(r"\$\(JOB_COMPLETION_INDEX\)|\$\{part\}|\{\}", "3", line)
    index = {"SLURM_ARRAY_TASK_ID": "3", "AWS_BATCH_JOB_ARRAY_INDEX": "3"}
    places = {"LIB": "/shared/music", "OUT": "/shared/stems", "head": "h", "port": "1"}
    line = re.sub(r"s3://bucket/\w+", "/shared/music", line)
    done = subprocess.run(
        ["sh", "-c", line.replace("sep ", f"{sys.executable} -P -m sep_launcher ", 1)],
        cwd=tmp_path,
        env={**os.environ, **index, **places},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "/shared/music" in done.stderr


def test_exit_codes_are_all_documented():
    documented = {int(code) for code in re.findall(r"`(\d+)` \w", README)}
    assert documented == {int(code) for code in ExitCode}


def test_every_package_has_its_place_in_the_architecture():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    for package in wheel["targets"]["wheel"]["packages"]:
        assert package in page
    for module in re.findall(r"`((?:\w+/)*\w+\.(?:py|toml|json))`", page):
        tops = (
            ROOT,
            ROOT / "runtime",
            ROOT / "launcher" / "sep_launcher",
            ROOT / "runtime" / "sep_runtime",
        )
        assert any((top / module).exists() for top in tops), module


def test_links_lead_somewhere():
    for page in (ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("models/**/*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page}: {target}"


@pytest.mark.parametrize("manifest", sep_models.catalogue(), ids=lambda each: each.name)
def test_every_model_has_facts_and_a_card(manifest):
    card = (sep_models.folder_of(manifest.name) / "card.md").read_text(encoding="utf-8")
    assert manifest.name in card
    assert "licence" in card.lower()
    assert manifest.licence.split(";")[0] in card
    assert manifest.sources or manifest.bundled
    for source in manifest.sources:
        assert re.fullmatch(r"[0-9a-f]{64}", source.sha256)
        assert source.file in card


def test_environment_says_what_pyproject_says():
    text = (ROOT / "environment.yml").read_text()
    assert ".[runtime]" in text
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert f"python{wanted}" in text
