"""The work of a Job: load the model once, then every track, one event at a time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import sep_models
from sep_protocol import DeviceChosen, Done, Fallback, ModelLoaded, Phase, TrackFailed
from sep_protocol.errors import DeviceError, TrackError
from sep_runtime import api
from sep_runtime import device as devices
from sep_runtime.audio.encode import check_form
from sep_runtime.bench import bench
from sep_runtime.models.install import install
from sep_runtime.track import Batch, do, warning
from sep_runtime.tracks import sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    from sep_protocol import Event, Job


def separate(job: Job, emit: Callable[[Event], None], *, begun: float) -> Done:
    """Do the job and say what happens; `begun` is `time.perf_counter()` at the process's start.

    Raises a SepError where the job as a whole cannot go on; a bad track is told and passed over.
    """
    phases = {"import": time.perf_counter() - begun}
    emit(Phase(name="load"))
    started = time.perf_counter()
    if job.install is not None:
        install(job.install, job.model.name)
        return Done(done=0, failed=0, seconds=time.perf_counter() - begun, phases=phases)
    check_form(job.output.format, job.output.bit_depth)
    choice = _device(job, emit)
    model = api.load_on(choice, job.model, overlap=job.overlap, batch=job.batch)
    emit(ModelLoaded(precision="fp32", batch=model.loaded.separator.cut.batch))
    if job.bench is not None:
        phases["load"] = time.perf_counter() - started
        emit(bench(model, job, emit, phases=phases))
        return Done(done=0, failed=0, seconds=time.perf_counter() - begun, phases=phases)
    stems = sep_models.wanted_stems(job.output.stems, model.loaded.manifest)
    batch = Batch(job=job, model=model, stems=stems, emit=emit)
    phases["load"] = time.perf_counter() - started
    for parent in sorted({Path(track.place()) for track in job.tracks}):
        for left in sweep(parent):
            emit(warning(left))
    failed = 0
    for index in range(len(job.tracks)):
        emit(Phase(name="separate", track=index))
        try:
            done = do(batch, index)
        except TrackError as fault:
            failed += 1
            emit(
                TrackFailed(
                    track=index,
                    error=type(fault).__name__,
                    message=fault.template,
                    hint=fault.command,
                    path=fault.path,
                )
            )
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
