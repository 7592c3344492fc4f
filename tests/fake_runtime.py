"""A runtime without torch that speaks the contract and does what a track's name says.

`installed(folder)` writes the program that `SEP_RUNTIME_PYTHON` is to name; it takes what the real
one is started with: `-P -m sep_runtime --watch-stdin JOB`, or `--serve` and Jobs as lines on stdin.

The first word of a track's name, up to a dash, says what becomes of it:

| name            | what happens                                                               |
|-----------------|----------------------------------------------------------------------------|
| ok-50ms-…       | done after that time (ms or s; 10 ms without one)                          |
| slow-…          | done after 5 s, or the time that follows; Progress every 50 ms             |
| crash-…         | the process kills itself (SIGKILL) in the middle                           |
| crash-2-…       | the same, at the first two attempts alone, and done at the third           |
| hang-…          | no word more; ends when its standard input does, or is killed              |
| hang-1-…        | the same at the first attempt alone                                        |
| deaf-…          | as hang, and signals but SIGKILL and the end of its stdin do not end it    |
| oom-…           | the job fails for memory (14), unless it has `batch` 1                     |
| always-oom-…    | the job fails for memory (14)                                              |
| fail-…          | the track fails: AudioError                                                |
| full-…          | the track fails: the disk is full                                          |
| device-…        | the job fails with 13; model-… with 16, ready-… with 12                    |
| …noisy…         | the word is written to stderr, whatever becomes of it                      |

Variables: `SEP_FAKE_NOTES` names a folder in which each process appends what it does to a file
of its own, `<pid>.jsonl` (start with its variables, load, begin and end of tracks); attempts are
counted there, too, across processes. `SEP_FAKE_VERSION` is the version that Hello says.
`SEP_FAKE_LOAD` is how many seconds the load takes. `SEP_FAKE_FAULT=model` makes every Job fail
as a track of that name would.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import shutil
import signal
import stat
import sys
import threading
import time
from pathlib import Path

from sep_protocol import (
    DeviceChosen,
    Done,
    Failed,
    Hello,
    ModelLoaded,
    Phase,
    Progress,
    TrackDone,
    TrackFailed,
    __version__,
    dump_event,
    load_job,
)
from sep_protocol.errors import (
    AudioError,
    DeviceError,
    DiskFullError,
    InterruptedJob,
    MemoryLimitError,
    ModelError,
    NotReadyError,
    RuntimeFailedError,
    SepError,
    TrackError,
)

FAULTS = {"device": DeviceError, "model": ModelError, "ready": NotReadyError}
SEEN = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
GIVEN = (*SEEN, "RAY_JOB_ID", "PYTHONUNBUFFERED")
NOTES = os.environ.get("SEP_FAKE_NOTES")
RATE = 44100
FRAMES = 441000


def installed(folder):
    """Write the program that SEP_RUNTIME_PYTHON is to name; return its path."""
    program = Path(folder, "fake-python")
    # -u: the events leave at once; the contract's own path comes from this Python's packages.
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -u "{Path(__file__)}" "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def notes(folder):
    """Return what all processes noted there, in the order in which it happened."""
    found = []
    for file in Path(folder).glob("*.jsonl"):
        found += map(json.loads, file.read_text().splitlines())
    return sorted(found, key=lambda each: each["time"])


def note(what, **more):
    if NOTES:
        line = {"time": time.time(), "pid": os.getpid(), "what": what, **more}
        with Path(NOTES, f"{os.getpid()}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


def attempt(name):
    """Return which attempt at a track this is, from 1, counted over all processes."""
    if not NOTES:
        return 1
    folder = Path(NOTES, f"{name}.attempts")
    folder.mkdir(exist_ok=True)
    for count in range(1, 1000):
        try:
            (folder / str(count)).touch(exist_ok=False)
        except FileExistsError:
            continue
        return count
    raise AssertionError("a thousand attempts")


class Runtime:
    """One process; `serve` says that events carry the job's id."""

    def __init__(self, *, serve):
        self._serve = serve
        self._loaded = None
        self._job = None
        self._writing = threading.Lock()

    def emit(self, event):
        line = json.loads(dump_event(event))
        if self._serve:
            line["job"] = self._job.id
        with self._writing:
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()

    def do(self, job):
        """Do one Job; return the exit code."""
        self._job = job
        last = None
        try:
            self.emit(Hello(job=job.id, version=os.environ.get("SEP_FAKE_VERSION", __version__)))
            last = self._tracks(job)
        except KeyboardInterrupt:
            last = failed(InterruptedJob("stopped before the job was done"))
        except SepError as fault:
            last = failed(fault)
        note("last", job=job.id, last=type(last).__name__)
        self.emit(last)
        if isinstance(last, Failed):
            return last.code
        return 1 if last.failed else 0

    def _tracks(self, job):
        begun = time.perf_counter()
        if job.sweep:
            return Done(done=0, failed=0, seconds=0.0)
        if fault := os.environ.get("SEP_FAKE_FAULT"):
            raise FAULTS[fault](f"SEP_FAKE_FAULT is {fault}", hint="unset it")
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        device = job.device
        if device == "auto":
            device = "cuda" if visible else "cpu"
        device = "cuda:0" if device == "cuda" else device
        wanted = (job.models, device)
        if self._loaded != wanted:
            self.emit(Phase(name="import"))
        self.emit(
            DeviceChosen(
                requested=job.device,
                device=device,
                name="fake",
                torch="0",
                reason=" ".join(f"{name}={os.environ.get(name)}" for name in SEEN),
            )
        )
        if self._loaded != wanted:
            self.emit(Phase(name="load"))
            time.sleep(float(os.environ.get("SEP_FAKE_LOAD", "0")))
            note("load", job=job.id, device=device)
            self._loaded = wanted
        precision = "fp32" if job.precision == "auto" else job.precision
        self.emit(ModelLoaded(model=job.called, precision=precision, batch=job.batch or 4))
        bad = 0
        for index, track in enumerate(job.tracks):
            self.emit(Phase(name="separate", track=index))
            try:
                self.emit(self._track(job, index, track))
            except TrackError as fault:
                bad += 1
                told = {"message": fault.template, "hint": fault.command, "path": fault.path}
                self.emit(TrackFailed(track=index, error=type(fault).__name__, **told))
        seconds = time.perf_counter() - begun
        return Done(done=len(job.tracks) - bad, failed=bad, seconds=seconds)

    def _track(self, job, index, track):
        begun = time.perf_counter()
        name = Path(track.audio).stem
        report = Path(track.out, track.report)
        if report.exists():
            if job.output.resume:
                note("resumed", job=job.id, track=name)
                return done(index, track, json.loads(report.read_text()), 0.0, resumed=True)
            if not job.output.overwrite:
                raise TrackError("{path} is there already", path=track.out)
        turn = attempt(name)
        if "noisy" in name:
            print("noisy", file=sys.stderr, flush=True)
        note("begin", job=job.id, track=name, attempt=turn, batch=job.batch)
        self._obey(job, index, name, turn)
        found = write(job, index, track)
        note("end", job=job.id, track=name, attempt=turn)
        return done(index, track, found, time.perf_counter() - begun, resumed=False)

    def _obey(self, job, index, name, turn):
        word, times, seconds = obeyed(name)
        if times is not None and turn > times:
            word, seconds = "ok", 0.01
        self.emit(Progress(track=index, done=0, total=FRAMES, sample_rate=RATE))
        if word == "crash":
            time.sleep(0.01)
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        if word in ("hang", "deaf"):
            if word == "deaf":
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(3600)
        if word == "fail":
            raise AudioError("{path}: it is no audio", path=job.tracks[index].audio)
        if word == "full":
            out = job.tracks[index].out
            raise DiskFullError("{path}: the disk is full", hint="free space", path=out)
        if word == "always" or (word == "oom" and job.batch != 1):
            raise MemoryLimitError("the GPU has too little memory", hint="try --batch 1")
        if word in FAULTS:
            raise FAULTS[word](f"{name} says so")
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            time.sleep(min(left, 0.05))
            share = 1 - max(0.0, end - time.perf_counter()) / seconds
            if word == "slow":
                told = int(FRAMES * share)
                self.emit(Progress(track=index, done=told, total=FRAMES, sample_rate=RATE))
        self.emit(Progress(track=index, done=FRAMES, total=FRAMES, sample_rate=RATE))


def obeyed(name):
    """Return what a name says: its word, at how many attempts, and how long in seconds."""
    word, *rest = name.split("-")
    times, seconds = None, {"slow": 5.0}.get(word, 0.01)
    if rest and word in ("crash", "hang", "deaf") and re.fullmatch("[1-9]", rest[0]):
        times = int(rest[0])
    if rest and (found := re.fullmatch("([0-9.]+)(ms|s)", rest[0])):
        seconds = float(found[1]) / (1000 if found[2] == "ms" else 1)
    return word, times, seconds


def write(job, index, track):
    """Write stems and report as the real one does: hidden first, then there as a whole."""
    out = Path(track.out)
    place = Path(track.place())
    hidden = place / f".sep-{job.id}-{index}"
    new = hidden / "new"  # as the real one does, so that a sweep knows what it may clear away
    new.mkdir(parents=True)
    (hidden / "lock").touch()
    ending = job.output.format
    stems = {}
    for stem in job.output.stems or ("kick", "snare"):
        file = new / f"{track.file_of(stem)}.{ending}"
        file.write_text(f"{stem} of {Path(track.audio).name}")
        stems[stem] = {"file": file.name, "bytes": file.stat().st_size, "clipped": 0}
    model = {"name": job.called, "sha256": job.model.sha256 or "0" * 64}
    report = {
        "schema": 1,
        "sep": __version__,
        "mix": {"path": track.shown or track.audio, "sha256": "0" * 64},
        "model": model,
        "settings": {"batch": job.batch},
        "device": {"device": job.device, "name": "fake", "torch": "0"},
        "stems": stems,
        "frames": FRAMES,
        "sample_rate": RATE,
        "chunks": 1,
        "seconds": 0.0,
        "phases": {},
    }
    (new / track.report).write_text(json.dumps(report))
    if track.shared:
        for name in (*(each["file"] for each in stems.values()), track.report):
            (new / name).rename(out / name)
        shutil.rmtree(hidden)
        return report
    if job.output.overwrite and out.is_dir():
        for file in out.iterdir():
            file.unlink()
    with contextlib.suppress(OSError):  # another attempt may have been first
        new.rename(out)
    shutil.rmtree(hidden)
    return report


def done(index, track, report, seconds, *, resumed):
    return TrackDone(
        track=index,
        out=track.out,
        stems={name: str(Path(track.out, each["file"])) for name, each in report["stems"].items()},
        frames=FRAMES,
        sample_rate=RATE,
        chunk=FRAMES,
        hop=FRAMES,
        chunks=1,
        seconds=seconds,
        resumed=resumed,
    )


def failed(fault):
    return Failed(
        code=fault.code,
        error=type(fault).__name__,
        message=fault.template,
        hint=fault.command,
        path=fault.path,
    )


def ended():
    """The launcher is gone."""
    note("eof")
    os._exit(130)


def watch():
    while os.read(0, 1):
        pass
    ended()


def serve():
    """Do the Jobs that come as lines, until one fails or there are no more."""
    jobs = queue.SimpleQueue()
    busy = threading.Event()

    def read():
        for line in sys.stdin:
            if line.strip():
                busy.set()
                jobs.put(line)
        if busy.is_set():
            ended()
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    runtime = Runtime(serve=True)
    while True:
        try:
            job = load_job(jobs.get())
        except KeyboardInterrupt:
            return 130
        code = runtime.do(job)
        if code > 1:
            return code
        if jobs.empty():
            busy.clear()


def once(path, *, watched):
    if watched:
        threading.Thread(target=watch, daemon=True).start()
    return Runtime(serve=False).do(load_job(Path(path).read_text(encoding="utf-8")))


def main(argv):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    words = [each for each in argv if each not in ("-P", "-I", "-m", "sep_runtime")]
    if words == ["-c", "pass"]:
        return 0
    pgid = os.getpgid(0) if hasattr(os, "getpgid") else 0
    given = {name: os.environ.get(name) for name in GIVEN}
    note("start", argv=words, ppid=os.getppid(), pgid=pgid, environment=given)
    if "--serve" in words:
        return serve()
    if not words:
        raise RuntimeFailedError("usage: fake-python [--serve] [--watch-stdin] [JOB]")
    return once(words[-1], watched="--watch-stdin" in words)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)
