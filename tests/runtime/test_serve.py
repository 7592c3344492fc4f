"""`--serve`: Jobs as lines, one model for all that want the same, and the same deaths."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import soundfile

from sep_protocol import Job, Model, Output, Track, dump_job
from sep_runtime.kept import Kept


@pytest.fixture
def job(tiny, noise, tmp_path):
    """A Job for a short mix by a small network."""

    def make(number, samples=30000, **more):
        mix = tmp_path / f"{number}.wav"
        soundfile.write(mix, noise(2, samples, number).T, 44100)
        model = Model(name="tiny", checkpoint=str(tiny[0]), settings=str(tiny[1]))
        return Job(
            id=f"{number:08x}",
            tracks=(Track(audio=str(mix), out=str(tmp_path / "out" / str(number))),),
            model=model,
            device="cpu",
            **more,
        )

    return make


@pytest.fixture
def served():
    """A serving runtime, and what asks it."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "sep_runtime", "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def ask(line):
        process.stdin.write(line if isinstance(line, str) else dump_job(line, line=True))
        process.stdin.flush()

    def heard():
        events = []
        for line in process.stdout:
            events.append(json.loads(line))
            if events[-1]["event"] in ("done", "failed"):
                break
        return events

    ask.process, ask.heard = process, heard
    yield ask
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_jobs_one_after_the_other(served, job, tmp_path):
    for number in range(3):
        served(job(number))
        events = served.heard()
        assert {each["job"] for each in events} == {f"{number:08x}"}
        assert [each["event"] for each in events[:2]] == ["hello", "phase"]
        assert events[-1]["done"] == 1
        assert {"device", "loaded", "track-done"} <= {each["event"] for each in events}
    assert (tmp_path / "out" / "2" / "sep.json").is_file()
    served.process.stdin.close()
    assert served.process.wait(20) == 0


def test_what_the_kept_model_gives_is_what_a_new_one_gives(served, job, tmp_path):
    for number in (1, 2):
        served(job(number))
        served.heard()
    alone = replace(job(2), tracks=(replace(job(2).tracks[0], out=str(tmp_path / "alone")),))
    (tmp_path / "job.json").write_text(dump_job(alone))
    done = [sys.executable, "-P", "-m", "sep_runtime", str(tmp_path / "job.json")]
    subprocess.run(done, check=True, capture_output=True)
    stems = sorted((tmp_path / "alone").glob("*.wav"))
    assert stems
    for each in stems:
        assert each.read_bytes() == (tmp_path / "out" / "2" / each.name).read_bytes()


def test_many_lines_at_once_are_done_in_turn(served, job):
    served("".join(dump_job(job(number), line=True) + "\n" for number in range(3)))
    for number in range(3):
        assert {each["job"] for each in served.heard()} == {f"{number:08x}"}


def test_a_bad_track_ends_nothing_a_bad_job_all(served, job, tmp_path):
    missing = job(1)
    (tmp_path / "1.wav").unlink()
    served(missing)
    assert served.heard()[-1]["failed"] == 1
    served(job(2))
    assert served.heard()[-1]["done"] == 1
    served(replace(job(3), device="cuda:99"))
    last = served.heard()[-1]
    assert (last["event"], last["code"]) == ("failed", 13)
    assert served.process.wait(20) == 13


def test_what_is_no_job(served):
    served("{}\n")
    assert served.heard()[-1]["code"] == 12  # it speaks no protocol
    assert served.process.wait(20) == 12


def test_the_end_of_stdin_ends_a_job_and_leaves_nothing(served, job, tmp_path):
    served(job(1, samples=44100 * 600))
    for line in served.process.stdout:
        if '"progress"' in line:
            break
    served.process.stdin.close()
    rest = served.process.stdout.read()
    assert served.process.wait(20) == 130
    assert "interrupted" in rest.lower()
    assert not list((tmp_path / "out").rglob("*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_rest(served, job, number):
    served(job(1))
    served.heard()
    os.kill(served.process.pid, number)
    assert served.process.wait(20) == 130


def test_a_model_is_kept_for_the_same_wish_alone(job, tiny, tmp_path):
    kept, model = Kept(), object()
    first = job(1)
    kept.keep(first, model)
    assert kept.take(job(2)) is model
    for other in (
        replace(first, batch=2),
        replace(first, overlap=3.0),
        replace(first, device="auto"),
        replace(first, shifts=2),
        replace(first, precision="fp32"),
        replace(first, model=Model(name="mdx23c-mini")),
        replace(first, output=Output(intermediate=True)),
    ):
        kept.keep(first, model)
        assert kept.take(other) is None
        assert kept.take(first) is None  # it is gone


def test_a_checkpoint_that_changed_is_read_again(job, tiny, tmp_path):
    copy = tmp_path / "copy.ckpt"
    copy.write_bytes(tiny[0].read_bytes())
    kept, asked = Kept(), replace(job(1), model=Model(name="tiny", checkpoint=str(copy)))
    kept.keep(asked, object())
    assert kept.take(asked) is not None
    os.utime(copy, (1, 1))
    assert kept.take(asked) is None
