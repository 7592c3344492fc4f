"""kill -9 at many random moments of a batch: only whole tracks, nothing of the old lost."""

import json
import os
import random
import signal
import time

import pytest
import soundfile
import torch

from sep_protocol import Job, Model, Output, Track
from sep_runtime.separate import separate
from sep_runtime.tracks import sweep

TRIALS = {False: 40, True: 20}  # by whether all tracks share one folder
TRACKS = 4
STEMS = 5


@pytest.fixture
def clips(tmp_path, noise):
    paths = []
    for i in range(TRACKS):
        path = tmp_path / f"{i}.wav"
        soundfile.write(path, noise(2, 6000, seed=i).T, 44100)
        paths.append(path)
    return paths


def job(clips, out, tiny, number, *, overwrite, shared):
    tracks = (
        Track(audio=str(p), out=str(out), shared=True, stem_name=f"{p.stem} {{stem}}")
        if shared
        else Track(audio=str(p), out=str(out / p.stem))
        for p in clips
    )
    return Job(
        id=f"{number:08x}",
        tracks=tuple(tracks),
        model=Model(name="tiny", checkpoint=str(tiny[0]), settings=str(tiny[1])),
        output=Output(overwrite=overwrite),
        device="cpu",
    )


def child(work):
    """Fork a process that does the job; torch is imported already, so moments fall in the work."""
    pid = os.fork()
    if pid == 0:
        try:
            torch.set_num_threads(1)
            separate(work, lambda _: None, begun=time.perf_counter())
        finally:
            os._exit(0)
    return pid


def check_whole(path):
    report = json.loads(path.read_text())
    assert len(report["stems"]) == STEMS
    for each in report["stems"].values():
        assert soundfile.info(path.parent / each["file"]).frames == report["frames"] == 6000
    return len(report["stems"]) + 1


def reports(out, *, shared):
    return sorted(out.glob("* sep.json" if shared else "*/sep.json"))


@pytest.mark.slow
@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
def test_only_whole_tracks_are_left(tmp_path, tiny, clips, shared):
    begun = time.monotonic()
    timed = tmp_path / "timed"
    os.waitpid(child(job(clips, timed, tiny, 9999, overwrite=False, shared=shared)), 0)
    span = time.monotonic() - begun
    assert len(reports(timed, shared=shared)) == TRACKS
    drawn, whole, orphans, finished = random.Random(0), 0, 0, 0
    for trial in range(TRIALS[shared]):
        out = tmp_path / "out" / str(trial // 10)  # ten kills in one folder, then a fresh one
        before = (
            {p.name for p in out.iterdir() if not p.name.startswith(".")} if out.exists() else set()
        )
        pid = child(job(clips, out, tiny, trial, overwrite=trial % 10 > 0, shared=shared))
        time.sleep(drawn.uniform(0.05, 1.0) * span)
        os.kill(pid, signal.SIGKILL)
        finished += os.WIFEXITED(os.waitpid(pid, 0)[1])
        if not out.exists():
            continue
        orphans += sum(p.name.startswith(".") for p in out.iterdir())
        sweep(out)
        left = {p.name for p in out.iterdir()}
        assert not any(name.startswith(".") for name in left)
        assert before <= left
        found = reports(out, shared=shared)
        files = sum(check_whole(report) for report in found)
        assert len(left) == (files if shared else len(found))
        whole += len(found)
    print(
        f"\n{TRIALS[shared]} kills in {span:.2f} s of work: {whole} whole tracks seen, "
        f"{orphans} orphaned folders swept, {finished} times the job was done before the kill, "
        "0 partial tracks"
    )
    assert orphans > 3
    assert whole > 10
