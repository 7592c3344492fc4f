"""The work of a Job: load the model once, then every track, one event at a time."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sep_protocol import DeviceChosen, Done, Fallback, Phase, TrackFailed
from sep_protocol.errors import DeviceError, MemoryLimitError, TrackError
from sep_runtime import api, memory
from sep_runtime import device as devices
from sep_runtime.accel import tuning
from sep_runtime.audio.encode import check_form
from sep_runtime.bench import bench
from sep_runtime.kept import Kept
from sep_runtime.models import precision
from sep_runtime.models.install import install
from sep_runtime.models.running import ALTERNATE, TOGETHER
from sep_runtime.track import Batch, do, warning
from sep_runtime.tracks import sweep
from sep_runtime.upcoming import Upcoming

if TYPE_CHECKING:
    from collections.abc import Callable

    from sep_protocol import Event, Job, ModelLoaded
    from sep_runtime.model import Model, Part


def separate(
    job: Job, emit: Callable[[Event], None], *, begun: float, kept: Kept | None = None
) -> Done:
    """Do the job and say what happens; `begun` is the `time.perf_counter()` that it began at.

    A model in `kept` that is what the job asks for is not loaded again; the job's is left there.
    Raises a SepError where the job as a whole cannot go on; a bad track is told and passed over.
    """
    phases = {"import": time.perf_counter() - begun}
    emit(Phase(name="load"))
    started = time.perf_counter()
    if job.install is not None:
        install(job.install, job.model)
        return Done(done=0, failed=0, seconds=time.perf_counter() - begun, phases=phases)
    check_form(job.output.format, job.output.bit_depth)
    model = _model(job, emit, kept or Kept())
    told = _told(model, [], emit)
    if job.bench is not None:
        phases["load"] = time.perf_counter() - started
        benched = bench(model, job, emit, phases=phases)
        emit(model.running)  # now with the ways that were taken
        emit(benched)
        tuning.TABLE.keep()
        return Done(done=0, failed=0, seconds=time.perf_counter() - begun, phases=phases)
    first = model.parts[0].loaded.manifest.stems if job.output.intermediate else ()
    stems = model.wanted(job.output.stems, first)
    phases["load"] = time.perf_counter() - started
    for parent in sorted({Path(track.place()) for track in job.tracks}) if job.tidy else ():
        for left in sweep(parent, host=job.host, of=job.of):
            emit(warning(left))
    failed = 0
    with Upcoming(job, model) as upcoming:
        batch = Batch(job=job, model=model, stems=stems, emit=emit, upcoming=upcoming)
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
            told = _told(model, told, emit)  # what was taken shows when a network has run
            for name, seconds in done.phases.items():
                phases[name] = phases.get(name, 0.0) + seconds
            emit(done)
    tuning.TABLE.keep()
    seconds = time.perf_counter() - begun
    return Done(done=len(job.tracks) - failed, failed=failed, seconds=seconds, phases=phases)


def _told(
    model: Model, before: list[ModelLoaded], emit: Callable[[Event], None]
) -> list[ModelLoaded]:
    """Say how the networks run, of those that run in another way than they did."""
    now = [each.loaded.running for each in model.parts]
    for each in now:
        if each not in before:
            emit(each)
    return now


def wish(job: Job) -> api.Wish:
    """Return what a Job asks to be loaded."""
    return api.Wish(
        models=(job.model, *job.beside),
        weights=job.weights,
        first=job.from_mix,
        intermediate=job.output.intermediate,
        shifts=job.shifts,
        overlap=job.overlap,
        batch=job.batch,
        precision=job.precision,
    )


def _model(job: Job, emit: Callable[[Event], None], kept: Kept) -> Model:
    """Return the job's model on its device, the one that is kept or a new one."""
    model = kept.take(job)
    if model and model.loaded.runner.device == model.choice.device:
        emit(_chosen(job, model.choice, model.choice.reason))
    else:
        kept.model = model = None  # a network that had to leave its device gets it again
        model = _loaded(job, _device(job, emit), emit)
        kept.keep(job, model)
    for part in model.parts:
        part.loaded.runner.tell = partial(_tell, job, part, emit)
    if model.turns and model.turns.alternate:
        emit(Fallback(was=TOGETHER, now=ALTERNATE, reason="memory does not hold all models"))
    return model


def _loaded(job: Job, choice: devices.Choice, emit: Callable[[Event], None]) -> Model:
    """Load the model on the device, or on the CPU where a GPU's memory is too short or it errs."""
    to_cpu = job.device == "auto" and job.fallback
    try:
        return api.load_on(choice, wish(job), to_cpu=to_cpu)
    except (RuntimeError, MemoryLimitError, DeviceError) as fault:
        named = job.precision not in precision.CPUS
        errs = isinstance(fault, DeviceError)
        may = errs or memory.is_short(fault)
        if named or not (to_cpu and choice.device.type != "cpu" and may):
            raise
        reason = str(fault) if errs else memory.brief(fault)
    emit(Fallback(was=str(choice.device), now="cpu", reason=reason))
    cpu = devices.choose("cpu")
    emit(_chosen(job, cpu, reason))
    return api.load_on(cpu, wish(job), to_cpu=to_cpu)


def _tell(job: Job, part: Part, emit: Callable[[Event], None], step: Fallback) -> None:
    """Say that a network goes on with less, and with what."""
    emit(step)
    if step.now == "cpu":
        emit(_chosen(job, devices.choose("cpu"), step.reason))
    emit(part.loaded.running)


def _device(job: Job, emit: Callable[[Event], None]) -> devices.Choice:
    choice = devices.choose(job.device)
    for failure in choice.failures:
        if not job.fallback:
            raise DeviceError(failure, hint="leave out --no-fallback to go on with the next best")
        emit(Fallback(was=failure.partition(" ")[0], now=str(choice.device), reason=failure))
    emit(_chosen(job, choice, choice.reason))
    return choice


def _chosen(job: Job, choice: devices.Choice, reason: str) -> DeviceChosen:
    return DeviceChosen(
        requested=job.device,
        device=str(choice.device),
        name=choice.name,
        torch=torch.__version__,
        reason=reason,
    )
