"""The work of a Job: load the model once, then every track, one event at a time."""

from __future__ import annotations

import errno
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from soundfile import LibsndfileError

from sep_protocol import (
    DeviceChosen,
    Done,
    Fallback,
    Phase,
    Progress,
    TrackDone,
    TrackFailed,
    Warned,
    __version__,
)
from sep_protocol.errors import DeviceError, TrackError, UsageError
from sep_runtime import api
from sep_runtime import device as devices
from sep_runtime.audio import Mix, StemFile
from sep_runtime.settings import canonical
from sep_runtime.tracks import Workspace, sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from sep_protocol import Event, Job, Track
    from sep_protocol.job import BitDepth
    from sep_runtime.api import Model
    from sep_runtime.pipeline import Pipeline

PROGRESS_SECONDS = 0.1  # between two Progress events
FULL_BYTES = 1 << 20  # less than this free is a full disk


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """What all tracks of a Job share."""

    job: Job
    model: Model
    stems: tuple[str, ...]  # to write
    emit: Callable[[Event], None]


def separate(job: Job, emit: Callable[[Event], None], *, begun: float) -> Done:
    """Do the job and say what happens; `begun` is `time.perf_counter()` at the process's start.

    Raises a SepError where the job as a whole cannot go on; a bad track is told and passed over.
    """
    phases = {"import": time.perf_counter() - begun}
    emit(Phase(name="load"))
    started = time.perf_counter()
    choice = _device(job, emit)
    model = api.load_on(choice, job.model, overlap=job.overlap, batch=job.batch)
    batch = _Batch(job=job, model=model, stems=_wanted(job, model), emit=emit)
    phases["load"] = time.perf_counter() - started
    for parent in {Path(track.out).parent for track in job.tracks}:
        sweep(parent)
    failed = 0
    for index, track in enumerate(job.tracks):
        emit(Phase(name="separate", track=index))
        try:
            done = _track(batch, index, track)
        except TrackError as fault:
            failed += 1
            name = type(fault).__name__
            emit(TrackFailed(track=index, error=name, message=fault.message, hint=fault.hint))
            continue
        for name, seconds in done.phases.items():
            phases[name] = phases.get(name, 0.0) + seconds
        emit(done)
    seconds = time.perf_counter() - begun
    return Done(done=len(job.tracks) - failed, failed=failed, seconds=seconds, phases=phases)


def _device(job: Job, emit: Callable[[Event], None]) -> devices.Choice:
    choice = devices.choose(job.device)
    now = str(choice.device)
    for failure in choice.failures:
        if not job.fallback:
            raise DeviceError(failure, hint="leave out --no-fallback to go on with the next best")
        emit(Fallback(was=failure.partition(" ")[0], now=now, reason=failure))
    emit(
        DeviceChosen(
            requested=job.device,
            device=now,
            name=choice.name,
            torch=torch.__version__,
            reason=choice.reason,
        )
    )
    return choice


def _wanted(job: Job, model: Model) -> tuple[str, ...]:
    """Return the stems to write, in the model's order; raise UsageError for one it has not."""
    have = model.stems
    if job.output.stems is None:
        return have
    asked = {canonical(stem) for stem in job.output.stems}
    unknown = sorted(asked - set(have))
    if unknown or not asked:
        raise UsageError(
            f"{model.loaded.manifest.name} makes no stem called {', '.join(unknown) or 'nothing'}",
            hint=f"it makes {', '.join(have)}",
        )
    return tuple(stem for stem in have if stem in asked)


def _track(batch: _Batch, index: int, track: Track) -> TrackDone:
    started = time.perf_counter()
    ending = batch.job.output.format
    with Mix(Path(track.audio)) as mix, _workspace(batch, index, track) as work:
        names = {s: f"{track.stem_name.replace('{stem}', s)}.{ending}" for s in batch.stems}
        depth = _depth(batch.job, mix)
        files = {
            stem: StemFile(
                work.new / name,
                sample_rate=mix.sample_rate,
                channels=mix.channels,
                file_format=ending,
                depth=depth,
            )
            for stem, name in names.items()
        }
        pipeline = batch.model.open(
            sample_rate=mix.sample_rate, channels=mix.channels, level=_again(mix)
        )
        encode = _write(batch, index, pipeline, mix, files)
        seconds = time.perf_counter() - started
        network = pipeline.network_seconds
        cut = batch.model.loaded.separator.cut
        done = TrackDone(
            track=index,
            out=track.out,
            stems={stem: str(Path(track.out, name)) for stem, name in names.items()},
            frames=mix.frames,
            sample_rate=mix.sample_rate,
            chunk=cut.chunk,
            hop=cut.hop,
            chunks=pipeline.chunks,
            seconds=seconds,
            phases={
                "decode": max(seconds - network - encode, 0.0),
                "network": network,
                "encode": encode,
            },
            clipped={stem: file.clipped for stem, file in files.items() if file.clipped},
        )
        work.commit(_report(batch, track, done, depth), names.values())
    if done.clipped:
        told = ", ".join(f"{stem} {count}" for stem, count in done.clipped.items())
        text = f"samples clipped: {told}; --bit-depth float keeps them"
        batch.emit(Warned(message=text, track=index))
    return done


def _again(mix: Mix) -> Iterator[NDArray[np.float32]]:
    """Yield the mix's blocks by a reader of their own, for a model that must hear it twice."""
    with Mix(mix.path) as first:
        yield from first.blocks()


def _write(
    batch: _Batch, index: int, pipeline: Pipeline, mix: Mix, files: dict[str, StemFile]
) -> float:
    """Send the mix through and the stems to their files; return the seconds of encoding."""
    order = batch.model.stems
    rows = [(order.index(stem), file) for stem, file in files.items()]
    encode, finished, told = 0.0, 0, 0.0
    batch.emit(Progress(track=index, done=0, total=mix.frames, sample_rate=mix.sample_rate))
    for block in pipeline.run(mix.blocks()):
        begun = time.perf_counter()
        for row, file in rows:
            file.write(block[row])
        finished += block.shape[-1]
        now = time.perf_counter()
        encode += now - begun
        if now - told >= PROGRESS_SECONDS or finished == mix.frames:
            batch.emit(
                Progress(track=index, done=finished, total=mix.frames, sample_rate=mix.sample_rate)
            )
            told = now
    begun = time.perf_counter()
    for _, file in rows:
        file.close()
    return encode + time.perf_counter() - begun


@contextmanager
def _workspace(batch: _Batch, index: int, track: Track) -> Iterator[Workspace]:
    """Give a workspace that is discarded whatever goes wrong inside; translate disk errors."""
    work = Workspace(Path(track.out), batch.job.id, index)
    try:
        yield work
    except (OSError, LibsndfileError) as fault:
        full = _is_full(fault, work.root.parent)
        what = "the disk is full" if full else f"writing failed: {fault}"
        raise TrackError(f"{track.out}: {what}", hint="free space" if full else "") from fault
    finally:
        work.discard()


def _is_full(fault: Exception, folder: Path) -> bool:
    """Say whether the disk is full; libsndfile names no reason, so its free space is asked."""
    if isinstance(fault, OSError):
        return fault.errno == errno.ENOSPC
    return shutil.disk_usage(folder).free < FULL_BYTES


def _depth(job: Job, mix: Mix) -> BitDepth:
    if job.output.bit_depth is not None:
        return job.output.bit_depth
    return "float" if mix.is_float and job.output.format == "wav" else "24"


def _report(batch: _Batch, track: Track, done: TrackDone, depth: BitDepth) -> dict[str, object]:
    """Return what `sep.json` says of a track."""
    loaded, choice = batch.model.loaded, batch.model.choice
    return {
        "sep": __version__,
        "mix": track.audio,
        "model": {"name": loaded.manifest.name, "sha256": loaded.sha256},
        "device": {"device": str(choice.device), "name": choice.name, "torch": torch.__version__},
        "settings": {
            "chunk": done.chunk,
            "hop": done.hop,
            "batch": loaded.separator.cut.batch,
            "format": batch.job.output.format,
            "bit_depth": depth,
        },
        "stems": {
            stem: {"file": Path(path).name, "clipped": done.clipped.get(stem, 0)}
            for stem, path in done.stems.items()
        },
        "frames": done.frames,
        "sample_rate": done.sample_rate,
        "chunks": done.chunks,
        "seconds": done.seconds,
        "phases": done.phases,
    }
