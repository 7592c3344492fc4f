"""`python -m sep_runtime` as the launcher sees it: one Job in, events out, stems on disk."""

import errno
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from sep_protocol import (
    DeviceChosen,
    Done,
    Failed,
    Hello,
    Job,
    Model,
    Output,
    Phase,
    Progress,
    Track,
    TrackDone,
    TrackFailed,
    Warned,
    dump_job,
    load_event,
)


@pytest.fixture
def clip(tmp_path, noise):
    path = tmp_path / "clip.wav"
    soundfile.write(path, noise(2, 50000).T, 44100, "PCM_24")
    return path


def only(events, kind):
    return [event for event in events if isinstance(event, kind)]


def test_a_track(runtime, clip, tmp_path):
    events = runtime(clip)
    assert isinstance(events[0], Hello)
    assert events[1] == Phase(name="import")
    assert isinstance(events[-1], Done)
    assert only(events, DeviceChosen)[0].torch
    progress = only(events, Progress)
    assert (progress[0].done, progress[-1].done, progress[-1].total) == (0, 50000, 50000)
    done = only(events, TrackDone)[0]
    assert (done.frames, done.chunk, done.hop, done.chunks) == (50000, 32256, 16128, 3)
    for path in done.stems.values():
        info = soundfile.info(path)
        assert (info.frames, info.samplerate, info.channels) == (50000, 44100, 2)
        assert info.subtype == "PCM_24"
    report = json.loads((tmp_path / "out" / "clip" / "sep.json").read_text())
    assert list(report["stems"]) == ["kick", "snare", "toms", "hihat", "cymbals"]
    assert len(report["model"]["sha256"]) == 64
    assert report["settings"]["chunk"] == 32256
    assert report["device"]["device"] == "cpu"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["clip"]


def test_runs_repeat_bit_for_bit(runtime, clip, tmp_path):
    runtime(clip)
    first = (tmp_path / "out" / "clip" / "kick.wav").read_bytes()
    runtime(clip, output=Output(overwrite=True))
    assert (tmp_path / "out" / "clip" / "kick.wav").read_bytes() == first


def test_mono_float_flac_and_chosen_stems(runtime, tmp_path, noise):
    path = tmp_path / "mono.wav"
    soundfile.write(path, noise(1, 3000).T, 48000, "FLOAT")
    done = only(runtime(path, output=Output(stems=("hh", "kick"))), TrackDone)[0]
    assert list(done.stems) == ["kick", "hihat"]
    info = soundfile.info(done.stems["hihat"])
    assert (info.channels, info.samplerate, info.frames, info.subtype) == (1, 48000, 3000, "FLOAT")
    done = only(runtime(path, output=Output(format="flac", overwrite=True)), TrackDone)[0]
    info = soundfile.info(done.stems["kick"])
    assert (info.format, info.subtype, info.frames) == ("FLAC", "PCM_24", 3000)


def test_a_bad_track_is_named_and_the_others_are_done(runtime, clip, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_text("no audio")
    events = runtime(bad, clip, tmp_path / "gone.wav", code=1)
    failed = only(events, TrackFailed)
    assert [each.track for each in failed] == [0, 2]
    assert {each.error for each in failed} == {"AudioError"}
    assert only(events, TrackDone)[0].track == 1
    assert (events[-1].done, events[-1].failed) == (1, 2)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["clip"]


def test_clipping_is_told(runtime, tmp_path, noise):
    path = tmp_path / "loud.wav"
    soundfile.write(path, noise(2, 40000).T * 1000, 44100, "FLOAT")
    events = runtime(path, output=Output(bit_depth="16"))
    assert "clipped" in only(events, Warned)[0].message
    assert sum(only(events, TrackDone)[0].clipped.values()) > 0


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        ({"device": "cuda"}, 13, "cuda"),
        ({"device": "gpu"}, 2, "gpu"),
        ({"output": Output(stems=("guitar",))}, 2, "guitar"),
        ({"overlap": 0.1}, 2, "overlap"),
        ({"model": Model(name="nope")}, 16, "nope"),
        ({"model": Model(name="larsnet")}, 16, "not installed"),
        ({"protocol": 99}, 12, "protocol 99"),
    ],
)
def test_jobs_that_cannot_be_done(runtime, clip, tmp_path, options, code, told):
    events = runtime(clip, code=code, **options)
    assert isinstance(events[-1], Failed)
    assert events[-1].code == code
    assert told in events[-1].message
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_named_device_that_is_missing_is_told_by_torch(runtime, clip):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has an NVIDIA GPU")
    assert "CUDA" in runtime(clip, code=13, device="cuda")[-1].message


@pytest.mark.parametrize("argv", [(), ("a", "b")])
def test_usage(argv):
    done = subprocess.run(
        [sys.executable, "-m", "sep_runtime", *argv], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert load_event(done.stdout).error == "UsageError"


def test_stdout_is_the_protocols_alone():
    code = (
        "import os, subprocess, sys\n"
        "from sep_runtime.__main__ import claim_stdout\n"
        "events = claim_stdout()\n"
        "print('from python')\n"
        "os.write(1, b'from C\\n')\n"
        "subprocess.run([sys.executable, '-c', 'print(\"from a child\")'])\n"
        "events.write('the protocol\\n'); events.flush()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "the protocol\n"
    assert all(f"from {each}" in done.stderr for each in ("python", "C", "a child"))


def test_hello_comes_before_torch(tmp_path, clip):
    """With a torch that cannot be imported, Hello is still said and the failure is named."""
    (tmp_path / "broken" / "torch").mkdir(parents=True)
    (tmp_path / "broken" / "torch" / "__init__.py").write_text("raise ImportError('no libc10')")
    job = Job(
        id="00000001",
        tracks=(Track(audio=str(clip), out=str(tmp_path / "o")),),
        model=Model(name="mdx23c-mini"),
    )
    (tmp_path / "job.json").write_text(dump_job(job))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sep_runtime", str(tmp_path / "job.json")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "broken")},
        check=False,
    )
    events = [load_event(line) for line in done.stdout.splitlines()]
    assert done.returncode == 12
    assert isinstance(events[0], Hello)
    assert "no libc10" in events[-1].message


def test_the_end_of_stdin_ends_the_job(tmp_path, tiny):
    long = tmp_path / "long.wav"
    soundfile.write(long, np.zeros((44100 * 600, 1), np.int16), 44100)
    job = Job(
        id="00000002",
        tracks=(Track(audio=str(long), out=str(tmp_path / "out" / "long")),),
        model=Model(name="tiny", checkpoint=str(tiny[0]), settings=str(tiny[1])),
    )
    (tmp_path / "job.json").write_text(dump_job(job))
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "sep_runtime", "--watch-stdin", str(tmp_path / "job.json")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        for line in process.stdout:
            event = load_event(line)
            if isinstance(event, Progress) and event.done:
                break
        begun = time.monotonic()
        process.stdin.close()
        rest = [load_event(line) for line in process.stdout]
        assert process.wait(60) == 130
        assert time.monotonic() - begun < 15
    assert rest[-1].error == "InterruptedJob"
    assert not (tmp_path / "out").exists()


def test_full_disk(runtime, tmp_path, noise):
    """The track fails clearly and leaves nothing; a small tmpfs is a real full disk."""
    small = tmp_path / "out"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(small)], check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        path = tmp_path / "clip.wav"
        soundfile.write(path, noise(2, 50000).T, 44100)
        events = runtime(path, code=1)
        assert "disk is full" in only(events, TrackFailed)[0].message
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (MemoryError(), 14),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 14),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), 14),
        (RuntimeError("MPS backend out of memory (MPS allocated: 3 GB)"), 14),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), 14),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9"), 14),
        (RuntimeError("unable to mmap 99 bytes from file <x>: Cannot allocate memory (12)"), 14),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), 14),
        (RuntimeError("std::bad_alloc"), 14),
        (ImportError("libx.so: failed to map segment from shared object"), 14),
        (ImportError("libx.so: cannot allocate memory in static TLS block"), 70),
        (OSError(errno.ENOENT, "No such file", "out of memory.wav"), 70),
        (RuntimeError("could not create a primitive"), 70),  # as it says of other things, too
        (RuntimeError("something else"), 70),
    ],
    ids=str,
)
def test_foreign_errors_are_named(fault, code):
    from sep_runtime.__main__ import _foreign

    assert _foreign(fault).code == code


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
@pytest.mark.parametrize("text", ["could not create a primitive", "can't start new thread"])
def test_within_a_limit_of_memory_vague_words_mean_memory(text):
    code = (
        "import resource; from sep_runtime import memory\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (1 << 40, 1 << 40))\n"
        f"assert memory.is_short(RuntimeError({text!r}))"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
