"""`sep doctor` on machines that are really broken: environments, disks, sockets."""

import contextlib
import getpass
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
from dataclasses import asdict
from pathlib import Path

import jsonschema
import pytest

import sep_models
from sep_launcher.machine import facts, probe
from sep_launcher.machine.host import Snr

ROOT = Path(__file__).parents[2]
CLIP = ROOT / "models" / "sep_models" / "golden.flac"
SCHEMA = json.loads((ROOT / "launcher/sep_launcher/doctor/schema.json").read_text())
PACKAGES = Path(sysconfig.get_path("purelib"))


@pytest.fixture
def doctor(sep):
    """Run `sep doctor --json`; returns the document, which must keep to the schema."""

    def run(*args, **options):
        done = sep("doctor", "--json", *args, check=None, **options)
        document = json.loads(done.stdout)
        jsonschema.validate(document, SCHEMA)
        assert done.returncode == document["exit_code"]
        document["ids"] = {each["id"]: each["severity"] for each in document["findings"]}
        return document

    return run


@pytest.fixture
def environment(tmp_path):
    """A Python whose packages are links to the real ones, but for those that are left out."""

    def make(*left_out):
        folder = tmp_path / "env"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        (site,) = folder.glob("lib/python*/site-packages")
        for each in PACKAGES.iterdir():
            if each.name not in (*left_out, "__pycache__"):
                (site / each.name).symlink_to(each)
        return {"SEP_RUNTIME_PYTHON": str(folder / "bin" / "python")}, site

    return make


def test_a_healthy_machine(sep, doctor):
    told = sep("doctor").stdout
    assert "all is well" in told
    assert "Native environment  fine: Python" in told
    document = doctor()
    assert document["findings"] == []
    assert document["runtime"]["python"] == platform.python_version()


@pytest.mark.slow
def test_deep_separates_the_clip_and_compares(doctor):
    document = doctor("--deep")
    plain, lower = document["tried"]
    for tried, precision in ((plain, "fp32"), (lower, "bf16")):
        assert (tried["engine"], tried["device"], tried["fault"]) == ("native", "cpu", "")
        assert tried["precision"] == precision
    assert plain["seconds"] > 0
    assert bool(lower["refused"]) == (lower["snr"] is None)  # not every processor has it


def test_a_precision_that_did_not_pass_is_told_and_not_taken(sep, doctor, home, tmp_path):
    """As setup notes it on a machine with a GPU; the CPU's is there for runs on this one."""
    host = probe.probe()
    check = facts.Check(
        python=sys.executable,
        machine=facts.fingerprint(host.system, host.version, host.gpus),
        torch="2.13.0",
        snr=(
            Snr(device="cuda", precision="fp16", decibels=31.0),
            Snr(device="cpu", precision="bf16"),
        ),
    )
    (home / "sep").mkdir()
    (home / "sep" / "facts.json").write_text(json.dumps({"checks": [asdict(check)]}))
    document = doctor()
    assert document["ids"] == {"precision-not-good": "warning"}
    assert len(document["host"]["native"]["snr"]) == 2
    told = sep("doctor").stdout
    assert "native cuda fp16: 31 dB" in told
    assert "--precision fp32 is taken" in told
    for options, asked in (((), "fp32"), (("--precision", "bf16"), "bf16")):
        done = sep("run", CLIP, "--dry-run", "-v", "--device", "cpu", *options)
        (job,) = re.findall(r"the job file is kept: (.*)", done.stderr)
        assert json.loads(Path(job).read_text())["precision"] == asked


def test_every_rule_is_listed(sep):
    from sep_launcher.doctor.catalogue import RULES

    told = sep("doctor", "--list-rules").stdout
    listed = json.loads(sep("doctor", "--list-rules", "--json").stdout)["rules"]
    assert [each["id"] for each in listed] == [each.id for each in RULES]
    assert all(each.id in told for each in RULES)


def test_the_bundle_names_nobody(sep, home, tmp_path):
    user = getpass.getuser()
    secrets = {
        "DOCKER_HOST": "tcp://someone:se/cr@secret@192.0.2.1:2375",
        "PYTHONPATH": f"{home}/lib",
        "SEP_TORCH_INDEX": "https://host.example/t0ken/simple?token=secret",
    }
    done = sep("doctor", "--bundle", "report.json", env=secrets)
    text = (tmp_path / "report.json").read_text()
    jsonschema.validate(json.loads(text), SCHEMA)
    for hidden in ("secret", "someone", str(home)):
        assert hidden not in text
        assert hidden not in done.stdout
    for hidden in ("192.0.2.1", str(tmp_path), "t0ken", "/lib"):
        assert hidden not in text
    if user != "root":
        assert user not in text
    variables = json.loads(text)["variables"]
    assert variables["PYTHONPATH"] == "<set>"
    assert variables["SEP_TORCH_INDEX"] == "https://host.example"
    assert json.loads(text)["packages"]["numpy"]
    done = sep("doctor", "--bundle", "none/report.json", check=3)
    assert "cannot be written" in done.stderr


def test_the_bundle_opens_no_cluster_and_no_store(sep, doctor, home, tmp_path):
    """Tokens and keys of clusters and stores, wherever they are kept."""
    token = home / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("file-t0ken-0123456789")
    token.chmod(0o644)
    secrets = {
        "RAY_AUTH_TOKEN": "env-t0ken-0123456789",
        "RAY_ADDRESS": "head.customer.example:6379",
        "AWS_ACCESS_KEY_ID": "AKIA0123456789ABCDEF",
        "AWS_SECRET_ACCESS_KEY": "aws-s3cret-0123456789",
        "AWS_SESSION_TOKEN": "aws-session-0123456789",
        "AWS_ENDPOINT_URL": "https://someone:st0re-pass@store.example",
        "AZURE_STORAGE_CONNECTION_STRING": "AccountName=a;AccountKey=azure-k3y-0123456789",
        "SEP_OUT": "s3://bucket/album-of-a-customer",
    }
    done = sep("doctor", "--bundle", "report.json", env=secrets, check=None)
    text = (tmp_path / "report.json").read_text()
    jsonschema.validate(json.loads(text), SCHEMA)
    for hidden in ("0123456789", "st0re-pass", "someone"):
        assert hidden not in text
        assert hidden not in done.stdout
    for hidden in ("head.customer", "album-of-a-customer"):
        assert hidden not in text
    found = json.loads(text)
    assert "ray-token-readable" in {each["id"] for each in found["findings"]} or not found["ray"]
    assert found["variables"]["RAY_ADDRESS"] == "<hidden>"


def test_a_store_whose_package_is_not_here(sep, doctor, home):
    from importlib.util import find_spec

    if find_spec("adlfs"):
        pytest.skip("the package is here")
    (home / "sep").mkdir()
    (home / "sep" / "config.toml").write_text('[run]\nout = "az://box/stems"\n')
    (finding,) = doctor()["findings"]
    assert finding["id"] == "cloud-missing"
    assert "config.toml is az://box/stems, which needs " in finding["detail"]
    assert "adlfs" in finding["detail"]
    assert "[cloud-missing]" in sep("run", CLIP, check=12).stderr


@pytest.mark.parametrize("kind", ["none", "stale"])
def test_a_daemon_that_does_not_answer(sep, doctor, tmp_path, kind):
    path = tmp_path / "docker.sock"
    if kind == "stale":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    env = {"DOCKER_HOST": f"unix://{path}"}
    # Runs go natively here, so it breaks nothing yet.
    assert doctor(env=env)["ids"] == {"docker-host-silent": "warning"}
    done = sep("run", CLIP, "--engine", "container", check=11, env=env)
    assert "[docker-host-silent]" in done.stderr
    assert "unset DOCKER_HOST" in done.stderr


def test_the_daemon_of_the_default_socket_is_dead(doctor, home):
    """As a rootless daemon leaves its socket behind when it is killed."""
    run = home / "run"
    run.mkdir()
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(run / "docker.sock"))
    if Path("/var/run/docker.sock").exists():
        pytest.skip("a daemon of this machine has its socket here")
    (finding,) = doctor(env={"XDG_RUNTIME_DIR": str(run)})["findings"]
    assert finding["id"] == "docker-stopped"
    assert "systemctl enable --now docker" in finding["fix"]


def test_a_context_that_does_not_exist(doctor):
    assert doctor(env={"DOCKER_CONTEXT": "lab"})["ids"] == {"docker-context-unknown": "warning"}


def test_a_python_that_is_not_there(sep, doctor):
    env = {"SEP_RUNTIME_PYTHON": "/nowhere/python"}
    assert doctor(env=env)["ids"] == {"runtime-python-missing": "error"}
    told = sep("doctor", check=1, env=env).stdout
    assert "fix:    unset SEP_RUNTIME_PYTHON" in told
    assert "[runtime-python-missing]" in sep("run", CLIP, check=12, env=env).stderr


@pytest.mark.skipif(not shutil.which("pypy3"), reason="no pypy3 here, which is an old Python")
def test_an_old_python(sep, doctor):
    env = {"SEP_RUNTIME_PYTHON": shutil.which("pypy3")}
    document = doctor(env=env)
    (finding,) = document["findings"]
    assert finding["id"] == "python-old"
    assert finding["detail"].startswith("Python 3.")
    done = sep("run", CLIP, check=12, env=env)
    assert "is older than Python 3.11" in done.stderr
    assert "[python-old]" in done.stderr


def test_a_truncated_environment(sep, doctor, environment):
    env, _ = environment("soxr", "safetensors")
    (finding,) = doctor(env=env)["findings"]
    assert finding["id"] == "environment-incomplete"
    assert "No module named 'soxr'" in finding["detail"]
    assert "No module named 'safetensors'" in finding["detail"]
    assert "[environment-incomplete]" in sep("run", CLIP, check=12, env=env).stderr


def test_no_torch(sep, doctor, environment):
    env, _ = environment("torch")
    assert doctor(env=env)["ids"] == {"torch-missing": "error"}
    assert "[environment-incomplete]" in sep("run", CLIP, check=12, env=env).stderr


def test_a_torch_that_does_not_import(doctor, environment):
    """Its largest library is cut off, as by a full disk."""
    env, site = environment("torch")
    torch = site / "torch"
    (torch / "lib").mkdir(parents=True)
    for folder, target in ((PACKAGES / "torch", torch), (PACKAGES / "torch/lib", torch / "lib")):
        for each in folder.iterdir():
            if each.name not in ("lib", "libtorch_cpu.so"):
                (target / each.name).symlink_to(each)
    with (PACKAGES / "torch/lib/libtorch_cpu.so").open("rb") as whole:
        (torch / "lib" / "libtorch_cpu.so").write_bytes(whole.read(1 << 20))
    (finding,) = doctor(env=env)["findings"]
    assert finding["id"] == "torch-not-importable"
    assert "ended by signal" in finding["detail"] or "libtorch_cpu.so" in finding["detail"]


@pytest.mark.slow
def test_torchaudio_for_cuda_beside_a_torch_for_the_cpu(sep, doctor, environment):
    """The ordinary index's wheel: it wants libraries of CUDA. sep runs all the same."""
    import torch

    if torch.version.cuda:
        pytest.skip("this torch has CUDA, its torchaudio works")
    env, site = environment()
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site]
    subprocess.run([*command, "torchaudio==2.11.0"], check=True, capture_output=True)
    (finding,) = doctor(env=env)["findings"]
    assert finding["id"] == "torchaudio-of-another-torch"
    assert finding["severity"] == "warning"
    assert "libc10_cuda.so" in finding["detail"] or "libcudart" in finding["detail"]
    assert "pip uninstall torchaudio" in finding["fix"]
    sep("run", CLIP, env=env)


@pytest.mark.slow
def test_damaged_weights_of_the_runtime(sep, doctor, environment):
    """Those that runs use are the environment's, not the launcher's."""
    env, site = environment()
    shutil.copytree(sep_models.folder_of("mdx23c-mini").parent, site / "sep_models")
    path = site / "sep_models" / "mdx23c_mini" / sep_models.WEIGHTS
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    (finding,) = doctor(env=env)["findings"]
    assert (finding["id"], finding["severity"]) == ("bundled-weights-damaged", "error")
    assert "cut off" in finding["detail"]
    assert "[bundled-weights-damaged]" in sep("doctor", check=1, env=env).stdout
    assert "[bundled-weights-damaged]" in sep("run", CLIP, check=16, env=env).stderr
    path.write_bytes(whole)
    assert doctor(env=env)["findings"] == []


def test_damaged_weights_that_were_fetched(doctor, home):
    folder = home / "sep" / "models" / "mdx23c-mini"
    folder.mkdir(parents=True)
    whole = (sep_models.folder_of("mdx23c-mini") / sep_models.WEIGHTS).read_bytes()
    path = folder / sep_models.WEIGHTS
    path.write_bytes(whole[:100_000])
    (finding,) = doctor()["findings"]
    assert finding["id"] == "weights-damaged"
    assert "sep models pull" in finding["fix"]
    path.write_bytes(b"<html>404</html>")
    assert doctor()["ids"] == {"weights-damaged": "error"}
    # Of the right length, with a bit turned over.
    turned = bytearray(whole)
    turned[-1000] ^= 1
    path.write_bytes(turned)
    noted = {"model": "mdx23c-mini", "sha256": sep_models.find("mdx23c-mini").sha256}
    (home / "sep" / "facts.json").write_text(json.dumps({"weights": [noted]}))
    (finding,) = doctor()["findings"]
    assert "SHA-256" in finding["detail"]


def test_the_current_folder_is_gone(sep, tmp_path):
    gone = tmp_path / "gone"
    command = f"mkdir {gone} && cd {gone} && rmdir {gone} && {sys.executable} -P -m sep_launcher"
    for rest in ("doctor", f"run {CLIP}"):
        done = subprocess.run(
            ["sh", "-c", f"{command} {rest}"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 3, done.stderr
        assert "the current folder is gone" in done.stderr


def test_notes_that_cannot_be_written_stop_setup_before_anything_is_made(sep, home):
    (home / "sep" / "facts.json").mkdir(parents=True)
    done = sep("setup", "--torch", "cpu", "--pip", "--yes", check=3)
    assert "facts.json cannot be written" in done.stderr
    assert not (home / "sep" / "envs").exists()
    assert [each.name for each in (home / "sep").glob("facts*")] == ["facts.json"]


def test_notes_that_cannot_be_read(doctor, home):
    (home / "sep").mkdir()
    (home / "sep" / "facts.json").write_text('{"native": 1')
    assert doctor()["ids"] == {"facts-damaged": "warning"}


@pytest.mark.slow
def test_a_disk_that_is_nearly_full(sep, doctor, small, tmp_path, noise):
    env = {"SEP_HOME": str(small / "sep"), "TMPDIR": str(small)}
    ids = doctor(env=env, cwd=small)["ids"]
    ids.pop("ray-socket-path", None)  # where there is a Ray: the path of this disk is long
    assert ids == {
        "data-disk-full": "warning",
        "temporary-disk-full": "warning",
        "output-disk-full": "warning",
    }
    import soundfile

    soundfile.write(tmp_path / "song.wav", noise(2, 44100 * 10).T, 44100)
    done = sep("run", tmp_path / "song.wav", "-o", small, check=1)
    assert "the disk is full" in done.stderr
    assert "[output-disk-full]" in done.stderr


def test_a_folder_that_cannot_be_written(doctor, tmp_path):
    """Not even by root: a file system that is read-only."""
    if os.geteuid() != 0:
        folder = tmp_path / "closed"
        folder.mkdir(mode=0o500)
    else:
        folder = Path("/proc/sys")
    assert doctor(cwd=folder)["ids"].get("output-not-writable") == "warning"


def test_findings_are_in_the_document_of_a_run(sep):
    env = {"SEP_RUNTIME_PYTHON": "/nowhere/python"}
    document = json.loads(sep("run", CLIP, "--json", check=12, env=env).stdout)
    assert [each["id"] for each in document["findings"]] == ["runtime-python-missing"]
    # What the user did is nothing that doctor could mend.
    assert json.loads(sep("run", "none.wav", "--json", check=3).stdout)["findings"] == []


def test_the_page_is_made_of_the_rules():
    from sep_launcher.doctor.page import page

    assert (ROOT / "docs" / "troubleshooting.md").read_text() == page()


def test_no_network_and_no_terminal_are_needed(sep):
    with contextlib.suppress(KeyError):
        os.environ.pop("TERM")
    done = sep("doctor", env={"COLUMNS": "20", "http_proxy": "http://127.0.0.1:9"})
    assert "all is well" in done.stdout
