"""The runtime that tests of batches use does what its names say, and as the launcher expects it."""

import json
import subprocess

import pytest

from sep_protocol import Job, Model, Track, dump_job


@pytest.fixture
def run(sep, fake_runtime, tmp_path):
    """Runs `sep run --json` over tracks of these names."""

    def make(*names, check=0):
        for name in names:
            (tmp_path / f"{name}.wav").write_bytes(b"")
        files = [f"{name}.wav" for name in names]
        return json.loads(sep("run", *files, "-o", "out", "--json", check=check).stdout)

    return make


def test_a_run_of_the_real_launcher_goes_through(run, fake, fake_runtime, tmp_path):
    told = run("ok-a", "slow-100ms-b", "fail-c", check=1)
    assert [each["done"] for each in told["tracks"]] == [True, True, False]
    assert (tmp_path / "out" / "ok-a" / "sep.json").is_file()
    what = [each["what"] for each in fake.notes(fake_runtime)]
    assert what.count("load") == 1


@pytest.mark.parametrize(
    ("name", "code"),
    [("crash-a", 15), ("always-oom-a", 14), ("device-a", 13), ("model-a", 16), ("ready-a", 12)],
)
def test_a_job_that_fails_says_so(run, name, code):
    run(name, check=code)


def job(folder, *names, **more):
    (folder / "out").mkdir(exist_ok=True)
    tracks = tuple(Track(audio=f"/m/{name}.wav", out=str(folder / "out" / name)) for name in names)
    return Job(id="00000001", tracks=tracks, model=Model(name="toy"), **more)


def line(made):
    return json.dumps(json.loads(dump_job(made))) + "\n"


def test_jobs_come_as_lines_and_the_model_stays_loaded(fake, fake_runtime, tmp_path):
    program = [fake.installed(tmp_path), "-P", "-m", "sep_runtime", "--serve"]
    told = subprocess.run(
        program,
        input=line(job(tmp_path, "slow-a")),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert told.returncode == 130  # the launcher went away in the middle
    with subprocess.Popen(program, stdin=-1, stdout=-1, text=True, bufsize=1) as process:
        for name in ("ok-b", "ok-c", "crash-1-d"):
            process.stdin.write(line(job(tmp_path, name)))
            events = []
            while not events or events[-1]["event"] not in ("done", "failed"):
                heard = process.stdout.readline()
                if not heard:
                    break
                events.append(json.loads(heard))
            assert {each["job"] for each in events} == {"00000001"}
        assert process.wait(10) == -9
    loads = [each["pid"] for each in fake.notes(fake_runtime) if each["what"] == "load"]
    assert loads.count(process.pid) == 1
