"""The commands of setup, what is recorded, what is refused. What they do, tests/e2e shows."""

import json
import os
import shutil
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from sep_launcher.machine import facts, paths, probe
from sep_launcher.machine.host import Gpu, Host, Snr
from sep_launcher.setup import installers, native, running, torch_builds
from sep_launcher.setup.installers import Installer, Recipe
from sep_protocol.errors import NotReadyError, PathError, UsageError
from sep_protocol.version import __version__

LINUX = Host(system="linux", version="6.8")
CPU = torch_builds.choose(LINUX).build
CUDA = torch_builds.choose(
    replace(LINUX, gpus=(Gpu(name="G", driver="580.1", capability=8.6, memory=1),))
).build


@pytest.fixture
def recipe(tmp_path):
    return Recipe(
        folder=tmp_path / "env",
        cache=tmp_path / "cache",
        wheel=tmp_path / "sep_audio-0.1.0-py3-none-any.whl",
        build=CPU,
    )


def commands(kind, program, recipe):
    return [
        " ".join(step.command)
        for step in installers.steps(Installer(kind=kind, program=program), recipe)
    ]


def test_pip(recipe):
    make, torch, sep = commands("pip", "/usr/bin/python3", recipe)
    assert make == f"/usr/bin/python3 -I -m venv --clear {recipe.folder}"
    assert f"--no-deps --index-url {CPU.index} torch=={CPU.torch}" in torch
    assert sep.endswith(f"{recipe.wheel}[runtime] torch=={CPU.torch}")
    assert "--index-url" not in sep  # all else comes from where packages come from
    for line in (torch, sep):
        assert line.startswith(f"{recipe.folder}/bin/python -I -m pip install")
        assert str(recipe.cache / "pip") in line


def test_uv(recipe):
    make, torch, sep = commands("uv", "/bin/uv", replace(recipe, build=CUDA))
    assert make.startswith("/bin/uv venv")
    assert sys.executable in make
    assert torch.startswith(f"/bin/uv pip install --python {recipe.folder}/bin/python")
    assert "--index-url" not in torch  # the ordinary index has this build
    assert sep.endswith("torch==2.13.0")


@pytest.mark.parametrize(
    ("name", "verb"),
    [("micromamba", "create"), ("mamba", "env create"), ("conda", "env create")],
)
def test_conda(recipe, name, verb):
    make, torch, _ = commands("conda", f"/opt/{name}", recipe)
    assert make.startswith(f"/opt/{name} {verb} --yes --prefix {recipe.folder} --file")
    file = Path(make.rpartition(" ")[2])
    assert "python>=3.11" in file.read_text()
    assert "pip:" not in file.read_text()  # that part is done by pip, torch first
    assert torch.startswith(f"{recipe.folder}/bin/python -I -m pip")


def test_a_wheelhouse_is_the_only_place(recipe, tmp_path):
    recipe = replace(recipe, wheelhouse=tmp_path)
    for line in commands("pip", "python3", recipe)[1:]:
        assert f"--isolated --no-index --find-links {tmp_path}" in line
        assert "--index-url" not in line
    with pytest.raises(UsageError, match="conda"):
        commands("conda", "/opt/conda", recipe)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A PATH with nothing but what the test puts there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(name, code="exit 0"):
        path = folder / name
        path.write_text(f"#!/bin/sh\n{code}\n")
        path.chmod(0o755)

    return make


def test_who_installs(programs, monkeypatch):
    assert installers.find().kind == "pip"
    with pytest.raises(NotReadyError, match="micromamba, mamba and conda"):
        installers.find(conda=True)
    programs("conda")
    programs("uv")
    assert installers.find().name == "uv"
    assert installers.find(pip=True).kind == "pip"
    assert installers.find(conda=True).name == "conda"
    programs("micromamba")
    assert installers.find(conda=True).name == "micromamba"


def test_a_python_without_ensurepip(programs, monkeypatch):
    monkeypatch.setattr(installers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NotReadyError) as caught:
        installers.find()
    assert "python3-venv" in caught.value.hint


def test_a_python_that_torch_does_not_know_yet(programs, monkeypatch):
    newer = type("Version", (tuple,), {})((3, 99, 0))
    monkeypatch.setattr(installers.sys, "version_info", newer)
    with pytest.raises(NotReadyError, match=r"3\.99"):
        installers.find()
    programs("uv")
    step = installers.steps(
        installers.find(),
        Recipe(folder=Path("/e"), cache=Path("/c"), wheel=Path("/w.whl"), build=CPU),
    )[0]
    assert torch_builds.table().newest_python in step.command


def test_facts_are_kept_by_machine(home):
    assert facts.read() == facts.Facts()
    one = facts.Check(python="/py", machine="linux 6.8", torch="2.13.0", mps=None, cuda=True)
    facts.write(facts.Facts().with_check(one))
    assert facts.read().check_of("/py", "linux 6.8") == one
    assert facts.read().check_of("/py", "linux 6.9") is None  # unknown, not failed
    again = facts.read().with_check(replace(one, cuda=False))
    assert [check.cuda for check in again.checks] == [False]


NOT_OURS = ["", "nonsense", "[]", "{}", '{"native": 3}', '{"mine": 1}', "[" * 100_000]


@pytest.mark.parametrize("text", NOT_OURS)
def test_broken_facts_are_no_facts_and_stay_as_they_are(sep, home, text):
    paths.facts().parent.mkdir(parents=True)
    paths.facts().write_text(text)
    assert facts.read() == facts.Facts()
    assert probe.probe().native.source == "own"
    with pytest.raises(PathError, match=r"facts\.json cannot be written: it is not sep's"):
        facts.write(facts.Facts())
    assert paths.facts() not in facts.written()
    assert paths.facts().read_text() == text
    assert [each.name for each in paths.data().iterdir()] == ["facts.json"]


def test_facts_are_not_written_through_a_link(home, tmp_path):
    facts.write(facts.Facts())
    ours = paths.facts().read_text()
    paths.facts().rename(tmp_path / "precious")
    paths.facts().symlink_to(tmp_path / "precious")
    facts.write(facts.Facts(weights=(facts.Converted(model="x", sha256="0"),)))
    assert (tmp_path / "precious").read_text() == ours


def test_the_driver_is_part_of_the_machine():
    gpu = Gpu(name="RTX", driver="580.1", capability=8.6, memory=1)
    before = facts.fingerprint("linux", "6.8", (gpu,))
    assert facts.fingerprint("linux", "6.8", (replace(gpu, driver="590.1"),)) != before


def environment(folder, version):
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    return facts.Environment(
        python=str(python), folder=str(folder), version=version, build="cpu", installer="pip"
    )


@pytest.fixture
def installed(monkeypatch):
    """As if this launcher were no checkout's."""
    monkeypatch.setattr(paths, "checkout", lambda: None)


def test_an_environment_of_another_version_is_not_set_up(home, installed):
    made = environment(home / "sep" / "envs" / "x", __version__)
    facts.write(facts.Facts(native=made))
    assert probe.probe().native.source == "setup"
    facts.write(facts.Facts(native=replace(made, version="0.0.1")))
    assert probe.probe().native.source == "own"


def test_a_checkout_runs_its_own_code(sep, home, monkeypatch):
    """Whoever works on the code wants that to run, whatever setup has made; a name goes first."""
    assert paths.checkout() == Path(__file__).parents[2]
    facts.write(facts.Facts(native=environment(home / "sep" / "envs" / "x", __version__)))
    assert probe.probe().native.python == sys.executable
    assert f"Python: {sys.executable}" in sep("route").stdout.splitlines()
    monkeypatch.setenv("SEP_RUNTIME_PYTHON", "/bin/sh")
    assert probe.probe().native.python == "/bin/sh"
    assert json.loads(sep("route", "--json").stdout)["python"] == "/bin/sh"
    assert "cannot be started" in sep("route", env={"SEP_RUNTIME_PYTHON": "/no"}, check=12).stderr
    monkeypatch.delenv("SEP_RUNTIME_PYTHON")
    monkeypatch.setattr(probe.importlib.util, "find_spec", lambda name: None)  # no torch here
    assert probe.probe().native.source == "setup"


def test_recorded_checks_reach_the_router(home):
    host = probe.probe()
    machine = facts.fingerprint(host.system, host.version, host.gpus)
    check = facts.Check(python=sys.executable, machine=machine, torch="2.0", mps=False)
    bad = Snr(device="mps", precision="fp16", decibels=12.0)
    worse = check.with_snr(replace(bad, decibels=3.0))
    check = replace(check, snr=(bad,))
    assert worse.with_snr(bad) == check
    facts.write(facts.Facts().with_check(check))
    found = probe.probe().native
    assert (found.mps, found.snr) == (False, (bad,))


def test_facts_of_before_precisions_were_measured_are_read(home):
    facts.write(facts.Facts().with_check(facts.Check(python="/py", machine="x", torch="2.13.0")))
    old = json.loads(paths.facts().read_text())
    del old["checks"][0]["snr"]
    paths.facts().write_text(json.dumps(old))
    assert facts.read().check_of("/py", "x").snr == ()
    assert facts.fault() == ""


@pytest.mark.slow
def test_an_engineers_own_environment_is_used_and_not_touched(sep, home):
    """The tests' Python has torch: it is checked, and nothing is made."""
    done = sep("setup", "--yes")
    assert "nothing will be installed into it" in done.stderr
    assert "works:" in done.stderr
    assert f"its Python: {sys.executable}" in done.stderr
    assert not (home / "sep" / "envs").exists()
    recorded = json.loads((home / "sep" / "facts.json").read_text())
    assert recorded["native"] is None
    assert recorded["checks"][0]["python"] == sys.executable


def test_a_runtime_python_that_cannot_run_sep_is_told(sep, home, tmp_path):
    import subprocess

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    named = tmp_path / "bare" / "bin" / "python"
    done = sep("setup", "--yes", check=12, env={"SEP_RUNTIME_PYTHON": str(named)})
    assert "No module named" in done.stderr
    assert f"{named} -m pip install" in done.stderr


def test_a_dry_run_prints_the_commands_and_does_nothing(sep, home):
    done = sep("setup", "--torch", "cu126", "--pip", "--dry-run")
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert "torch==2.10.0+cu126" in lines[1]
    assert "compute" not in done.stderr
    assert not (home / "sep" / "envs").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--torch", "cu1"], 2, "no torch build 'cu1'"),
        (["--torch", "cpu"], 2, "--yes answers for you"),  # nobody to ask
        (["--wheelhouse", "/nowhere", "--yes"], 3, "no folder /nowhere"),
        (["--model", "nope", "--yes"], 16, "no model called 'nope'"),
        (["--model", "drumsep", "--offline", "--yes"], 16, "--offline forbids"),
        (["--conda", "--yes"], 12, "none of micromamba, mamba and conda"),
    ],
)
def test_refusals(sep, home, arguments, code, told):
    done = sep("setup", *arguments, check=code)
    assert told in done.stderr
    assert not (home / "sep" / "envs").exists()


PLANTED = """
import pathlib
pathlib.Path({proof!r}).touch()
raise SystemExit("planted")
"""


@pytest.fixture
def planted(tmp_path):
    """A folder where somebody waits for setup to be typed: (folder, what shows that it ran)."""
    folder, proof = tmp_path / "planted", tmp_path / "proof"
    folder.mkdir()
    for name in ("venv", "pip", "ensurepip", "hatchling", "sitecustomize", "site", "encodings"):
        (folder / f"{name}.py").write_text(PLANTED.format(proof=str(proof)))
    (folder / "planted.pth").write_text(f"import pathlib; pathlib.Path({str(proof)!r}).touch()\n")
    nowhere = "http://127.0.0.1:9/planted"
    for name, text in {
        "uv.toml": f'index-url = "{nowhere}"\n',
        "pip.conf": f"[global]\nindex-url = {nowhere}\n",
        "pyproject.toml": f'[tool.uv]\nindex-url = "{nowhere}"\n',
        "setup.cfg": f"[easy_install]\nindex_url = {nowhere}\n",
        ".python-version": "2.7\n",
        "uv": f"#!/bin/sh\ntouch '{proof}'\nexit 1\n",
    }.items():
        (folder / name).write_text(text)
    (folder / "uv").chmod(0o755)
    index = torch_builds.choose(probe.probe(), "cpu").build.index
    (folder / index.partition("//")[0] / index.partition("//")[2] / "torch").mkdir(parents=True)
    return folder, proof


@pytest.mark.slow
def test_setup_runs_nothing_of_the_current_folder(sep, home, tmp_path, planted):
    """As far as it gets: an environment is made, and the wheelhouse has no torch."""
    folder, proof = planted
    (folder / "house").mkdir()
    for environment in ({}, {"PATH": f":.:{os.environ['PATH']}"}):
        done = sep(
            *("setup", "--yes", "--pip", "--wheelhouse", "house"),
            check=12,
            cwd=folder,
            env=environment,
        )
        assert "No matching distribution found for torch" in done.stderr
        assert not proof.exists()
    sep("setup", "--wheel", "wheels", cwd=folder)
    assert list((folder / "wheels").glob("sep_audio-*.whl"))
    assert not proof.exists()


def test_a_program_of_the_current_folder_is_none(sep, home, planted):
    folder, proof = planted
    done = sep(
        *("setup", "--torch", "cpu", "--dry-run"),
        cwd=folder,
        env={"PATH": f":.:{Path(shutil.which('sh')).parent}"},
    )
    assert " -m venv " in done.stdout
    assert not proof.exists()


@pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not installed here")
def test_uv_takes_no_settings_from_the_current_folder_or_above(sep, home, planted, tmp_path):
    """Settings that stop it where it reads them: beside the user, and above where it works."""
    folder, proof = planted
    (tmp_path / "house").mkdir()
    for place in (folder, home):
        (place / "uv.toml").write_text("[planted")
        done = sep("setup", "--yes", "--wheelhouse", "../house", cwd=folder, check=12)
        assert "torch was not found" in done.stderr, done.stderr
        assert "planted" not in done.stderr
    assert not proof.exists()


def test_paths_that_are_named_stay_the_same_files(monkeypatch, tmp_path):
    """The installers work in another folder; an address is no path, whatever lies there."""
    monkeypatch.chdir(tmp_path)
    for name in ("house", "my house", "https:/host/simple"):
        Path(name).mkdir(parents=True)
    monkeypatch.setenv("PIP_FIND_LINKS", "house https://host/simple other")
    monkeypatch.setenv("UV_FIND_LINKS", "house,https://host/simple")
    monkeypatch.setenv("PIP_CERT", "my house")
    monkeypatch.setenv("PIP_INDEX_URL", "https://host/simple")
    monkeypatch.setenv("PIP_NO_INDEX", "house")
    monkeypatch.setenv("PYTHONPATH", "house")
    found = running.environment()
    assert found["PIP_FIND_LINKS"] == f"{tmp_path}/house https://host/simple other"
    assert found["UV_FIND_LINKS"] == f"{tmp_path}/house,https://host/simple"
    assert found["PIP_CERT"] == f"{tmp_path}/my house"
    assert found["PIP_INDEX_URL"] == "https://host/simple"
    assert found["PIP_NO_INDEX"] == "house"
    assert "PYTHONPATH" not in found
    work = native.plan(LINUX, native.Wish(torch="cpu", pip=True, index="house"))
    assert f"{tmp_path}/house" in work.steps[1].command


def test_a_relative_home_is_one_place(sep, home, tmp_path):
    sep("setup", "--yes", "--pip", "--torch", "cpu", "--dry-run", env={"SEP_HOME": "here"})
    done = sep("setup", "--torch", "cpu", "--pip", "--dry-run", env={"SEP_HOME": "here"})
    assert f"{tmp_path}/here/envs" in done.stdout


@pytest.mark.slow
def test_a_failing_step_is_named_and_nothing_is_recorded(sep, home, tmp_path):
    (tmp_path / "empty").mkdir()
    done = sep("setup", "--yes", "--pip", "--wheelhouse", tmp_path / "empty", check=12)
    assert "setting up PyTorch failed" in done.stderr
    assert "No matching distribution found for torch" in done.stderr
    assert not (home / "sep" / "facts.json").exists()


def test_a_full_disk_is_told_before_anything_is_fetched(sep, home, monkeypatch, tmp_path):
    work = native.plan(LINUX, native.Wish(torch="cpu", pip=True))
    huge = replace(work, build=replace(work.build, installed=10**9))
    with pytest.raises(NotReadyError, match="are free"):
        native._check_space(huge)


def test_remove_with_nothing_there(sep, home):
    done = sep("setup", "--remove")
    assert "nothing of setup is here" in done.stderr


@pytest.fixture
def theirs(home):
    """SEP_HOME as a folder that has been somebody's for years; returns what must stay."""
    root = home / "sep"
    files = {
        "facts.json": '{"mine": 1}',
        "setup.lock": "mine",
        "envs/thesis/bin/python": "mine",
        "envs/.conda_envs_dir_test": "",
        "cache/pip/mine": "mine",
        "cache/wheels/sep_audio-mine.whl": "mine",
        "cache/jobs/mine/job.json": "mine",
        "cache/models/mine": "mine",
        "models/larsnet/mine.ckpt": "mine",
        "models/mine/.weights.safetensors.7": "mine",
        "launcher/mine": "mine",
        "uv.toml": "mine",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return lambda: {name for name, text in files.items() if (root / name).read_text() != text}


def ours(home):
    """What setup leaves, as it leaves it."""
    made = home / "sep" / "envs" / "0.1.0-cpu-12345678"
    paths.mark(made)
    (made / "env").mkdir()
    (made / "env" / "python").touch()
    for name in ("pip", "wheels", "jobs", "models"):
        (paths.cache() / name).mkdir(parents=True)
        (paths.cache() / name / "x").touch()
    return made


def test_remove_takes_what_setup_made_and_nothing_else(sep, home, theirs):
    made = ours(home)
    (home / "sep" / "envs" / "link").symlink_to(made)
    done = sep("setup", "--remove", "--yes")
    assert not made.exists()
    assert not paths.cache().exists()
    assert not paths.lock().exists()
    assert (home / "sep" / "envs" / "link").is_symlink()
    assert theirs() == set()
    assert "thesis" not in done.stderr
    assert "facts.json" not in done.stderr


def test_setup_among_things_of_others(sep, home, theirs):
    """Facts of somebody else are named, before anything is made."""
    done = sep("setup", "--yes", "--pip", "--torch", "cpu", check=3)
    assert "facts.json cannot be written: it is not sep's" in done.stderr
    sep("setup", "--yes", check=3)
    assert theirs() == set()
    assert not [each for each in paths.environments().iterdir() if paths.is_ours(each)]


def test_an_environment_takes_no_folder_of_others(home, tmp_path):
    from sep_launcher.setup import removal

    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis").touch()
    with pytest.raises(PathError, match="was not made by sep setup"):
        removal.clear(taken)
    (tmp_path / "link").symlink_to(taken)
    with pytest.raises(PathError, match="was not made by sep setup"):
        removal.clear(tmp_path / "link")
    assert (taken / "thesis").exists()
    (tmp_path / "empty").mkdir()  # killed before the mark was there
    removal.clear(tmp_path / "empty")
    assert not (tmp_path / "empty").exists()


def test_half_removed_it_is_still_ours(home, monkeypatch):
    """Whatever ends a removal, the next one goes on."""
    from sep_launcher.setup import removal

    made = ours(home)

    def ended(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(removal.shutil, "rmtree", ended)
    with pytest.raises(KeyboardInterrupt):
        removal.take_away(made)
    assert paths.is_ours(made)


def test_remove_keeps_models_and_says_so(sep, home):
    model = home / "sep" / "models" / "larsnet" / "weights.safetensors"
    model.parent.mkdir(parents=True)
    model.touch()
    facts.write(facts.Facts())
    assert "nothing was done" in sep("setup", "--remove", check=2).stderr
    assert "are kept" in sep("setup", "--remove", "--yes").stderr
    assert not paths.facts().exists()
    assert model.exists()


def test_a_run_with_nothing_set_up_says_what_to_do(home, tmp_path, capfd):
    """A launcher in an environment without torch: nobody to ask, so a clear end."""
    import shutil
    import subprocess

    done = subprocess.run(
        [sys.executable, "-P", "-c", LAUNCHER_ALONE, "run", clip()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
        env={**os.environ, "PATH": str(Path(shutil.which("sh")).parent)},
    )
    assert done.returncode == 12, done.stderr
    assert "run: sep setup, or add --yes" in done.stderr
    assert not list(home.iterdir())
    offline = subprocess.run(
        [sys.executable, "-P", "-c", LAUNCHER_ALONE, "run", clip(), "--offline", "--yes"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert offline.returncode == 12, offline.stderr
    assert not (home / "sep" / "envs").exists()


LAUNCHER_ALONE = """
import importlib.util, sys
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "torch" else real(name, *rest)
from sep_launcher import cli
sys.exit(cli.main(sys.argv[1:]))
"""


def clip():
    import sep_models

    return str(sep_models.golden_clip())


def test_environment_yml_is_in_step_with_pyproject():
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    text = installers.environment_file().read_text()
    assert f"python{project['requires-python']}" in text
    assert ".[runtime]" in text
    # The table's versions are within what the package allows.
    torch = next(each for each in project["optional-dependencies"]["runtime"] if "torch" in each)
    low, high = (tuple(map(int, part.strip("torch<>=").split("."))) for part in torch.split(","))
    for build in torch_builds.table().build:
        assert low <= torch_builds.numbers(build.torch) < high


def test_a_folder_that_is_not_there(home):
    with pytest.raises(PathError):
        native.plan(LINUX, native.Wish(pip=True, wheelhouse=Path("/nowhere")))


def test_a_home_that_cannot_be_written_is_told(sep, tmp_path):
    (tmp_path / "file").touch()
    done = sep("setup", "--yes", check=3, env={"SEP_HOME": str(tmp_path / "file" / "sep")})
    assert "cannot be written" in done.stderr
    done = sep("setup", "--wheel", tmp_path / "file" / "x", check=3)
    assert "no wheel can be written" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"), [(["run", "CLIP"], 12), (["setup", "--torch", "cpu"], 130)]
)
def test_a_person_is_asked_and_may_say_no(home, tmp_path, arguments, code):
    """At a real terminal: it says what it would do, asks, and a no leaves nothing."""
    import pty
    import subprocess

    ours, theirs = pty.openpty()
    command = [clip() if each == "CLIP" else each for each in arguments]
    with subprocess.Popen(
        [sys.executable, "-P", "-c", LAUNCHER_ALONE, *command],
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        told = b""
        while b"go on? [Y/n]" not in told:
            told += os.read(ours, 1024)
        os.write(ours, b"n\n")
        try:
            while more := os.read(ours, 1024):
                told += more
        except OSError:  # the terminal is gone when its last user is
            pass
    os.close(ours)
    assert process.returncode == code, told
    assert b"a Python environment with PyTorch" in told
    assert b"GB of disk" in told
    assert not (home / "sep" / "envs").exists()
