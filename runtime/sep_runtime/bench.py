"""What a model costs on this machine, and how close its stems are to those of plain CPU fp32."""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import torch

from sep_protocol import Bench, Benched, Measured, Phase, Tuned
from sep_protocol.errors import PathError, UsageError
from sep_runtime import quality
from sep_runtime.accel import operators, tuning
from sep_runtime.baselines import apply_model, demix, uvr
from sep_runtime.models.precision import golden
from sep_runtime.models.prepared import Chunked
from sep_runtime.profiling import profiled
from sep_runtime.streams.ahead import Ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from sep_protocol import Event, Job
    from sep_runtime.baselines import Network
    from sep_runtime.model import Model

    Run = Callable[[], int]

BLOCK = 1 << 16  # samples, as a file is read
BATCHES = (1, 4, 8)  # of other tools on an NVIDIA GPU, for their best to count


def bench(
    model: Model, job: Job, emit: Callable[[Event], None], *, phases: Mapping[str, float]
) -> Benched:
    """Measure the model on drums of the wanted length, all schemes in turn in every run.

    `phases` are the seconds of what came before. Raises UsageError for a Job without a bench, and
    where a model has no such baselines.
    """
    wanted = job.bench
    if wanted is None:
        raise UsageError("the job asks for no bench")
    emit(Phase(name="bench"))
    separator = model.loaded.separator
    mix = _drums(wanted.seconds, separator.sample_rate)
    if wanted.mix is not None:
        _leave(mix, separator.sample_rate, wanted.mix)
    took: dict[str, list[float]] = defaultdict(list)
    schemes: dict[str, Run] = {"sep": lambda: _ours(model, mix, took)}
    if wanted.baselines:
        schemes |= _baselines(model, mix)
    begun = time.perf_counter()
    cut = separator.cut
    _ours(model, mix[:, : cut.chunk + cut.batch * cut.hop], defaultdict(list))  # warm
    first = time.perf_counter() - begun
    times, chunks, peaks = _timed(schemes, wanted, model.choice.device, emit)
    stages = {name: statistics.median(each) for name, each in took.items()}
    # What compares and explains takes memory of its own, so the peaks are noted before.
    snr = profile = None
    if wanted.snr:
        emit(Phase(name="bench", detail="the golden clip, beside the CPU in fp32"))
        snr = quality.snr(model, quality.plain(job))
    if wanted.profile:
        emit(Phase(name="bench", detail="the profile"))
        profile = profiled(separator, torch.from_numpy(mix), model.choice.device, wanted.trace)
    return Benched(
        model=model.loaded.manifest.name,
        device=model.device,
        audio_seconds=wanted.seconds,
        runs=wanted.runs,
        chunk=cut.chunk,
        hop=cut.hop,
        peak_memory=peaks[0],
        measured=_measured(times, chunks, wanted.seconds),
        gpu_memory=peaks[1],
        threads=torch.get_num_threads(),
        snr=snr,
        phases={**phases, "first": first, **stages},
        tuning=_tuning(model) if wanted.tuning else (),
        profile=profile,
    )


def _tuning(model: Model) -> tuple[Tuned, ...]:
    """Return what was chosen for each shape of this model."""
    del model
    return tuple(
        Tuned(
            operator=row.operator,
            shape=row.shape,
            way=row.way,
            plain_ms=row.plain_ms,
            ms=row.ms,
            error=row.error,
        )
        for row in tuning.TABLE.used()
    )


def _timed(
    schemes: Mapping[str, Run], wanted: Bench, device: torch.device, emit: Callable[[Event], None]
) -> tuple[dict[str, list[float]], dict[str, int], tuple[int, int]]:
    """Return each scheme's times and chunks, and the peaks of memory after the first: ours."""
    times: dict[str, list[float]] = {name: [] for name in schemes}
    chunks: dict[str, int] = {}
    peaks = (0, 0)
    for number in range(1, wanted.runs + 1):
        for name, run in schemes.items():
            emit(Phase(name="bench", detail=f"{name}, run {number} of {wanted.runs}"))
            begun = time.perf_counter()
            chunks[name] = run()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times[name].append(time.perf_counter() - begun)
            if name == next(iter(schemes)) and number == 1:
                peaks = peak_memory(), gpu_memory(device)
    return times, chunks, peaks


def _measured(
    times: Mapping[str, list[float]], chunks: Mapping[str, int], audio: float
) -> tuple[Measured, ...]:
    ours = statistics.median(times["sep"])
    medians = {name: statistics.median(each) for name, each in times.items()}
    return tuple(
        Measured(
            scheme=name,
            seconds=median,
            real_time=audio / median,
            chunks=chunks[name],
            ratio=median / ours,
        )
        for name, median in medians.items()
    )


def _baselines(model: Model, mix: NDArray[np.float32]) -> dict[str, Run]:
    """Return the schemes of other tools, with the network that ours runs."""
    separator = model.loaded.separator
    if not isinstance(separator, Chunked):
        raise UsageError(
            f"{model.name} has no baselines: they are schemes of networks that see chunks",
            hint="baselines=False",
            command="leave out --baselines",
        )
    exact, cut, device = separator.runner.exact(), separator.cut, separator.runner.device
    sound, there = torch.from_numpy(mix), torch.from_numpy(mix).to(device)
    # On an NVIDIA GPU the training tools compute in half precision, and their best batch counts.
    half = device.type == "cuda"
    network = _autocast(exact.network) if half else exact

    if cut.scheme == "demucs":

        def by_demucs() -> int:
            free, at = separator.free, device
            return apply_model(exact, sound, cut.chunk, cut.hop, free=free, device=at)[1]

        return {"demucs": lambda: _beside(by_demucs)}

    def by_demix(batch: int) -> int:
        return demix(network, sound, cut.chunk, cut.hop, batch=batch, device=device)[1]

    schemes: dict[str, Run] = {}
    for batch in BATCHES if half else (1,):
        name = f"demix {batch}" if half else "demix"
        schemes[name] = partial(_beside, partial(by_demix, batch))
    if cut.scheme != "sep":
        return schemes
    return {**schemes, "uvr": lambda: _beside(lambda: uvr(exact, there, cut.chunk)[1])}


def _autocast(network: Network) -> Network:
    """Return a network of plain operators in half precision, as those tools have it on CUDA."""

    def run(x: Tensor) -> Tensor:
        with operators.plain(), torch.autocast("cuda", torch.float16):
            return network(x)

    return run


def _beside(run: Run) -> int:
    """Do it on a new thread, as our network is run.

    The first thread's helpers spin while they wait for each other; those of another one, when there
    are more threads than cores, do not, and beside other programs that is many times as fast.
    """

    def work() -> Iterator[int]:
        with torch.inference_mode():
            count = run()
        yield count

    with Ahead(work(), 1) as found:
        return next(iter(found))


def _drums(seconds: float, sample_rate: int) -> NDArray[np.float32]:
    """[2, T]: the golden clip, again and again."""
    return golden(max(1, round(seconds * sample_rate)))[0].numpy()


def _leave(mix: NDArray[np.float32], sample_rate: int, path: str) -> None:
    """Write the mix as a file of 16 bits, for whole commands to be measured with."""
    try:
        soundfile.write(path, mix.T, sample_rate, "PCM_16", format="WAV")
    except (OSError, soundfile.LibsndfileError) as fault:
        raise PathError("{path} cannot be written", path=path) from fault


def _ours(model: Model, mix: NDArray[np.float32], took: dict[str, list[float]]) -> int:
    """Separate as a run does, note the seconds of each stage, return how many chunks it took."""
    rate = model.loaded.separator.sample_rate
    pipeline = model.open(sample_rate=rate, channels=2, level=[])
    found = np.empty((len(model.stems), 2, mix.shape[1]), np.float32)
    done = 0
    for block in pipeline.run(np.array_split(mix, max(1, mix.shape[1] // BLOCK), axis=1)):
        found[..., done : done + block.shape[-1]] = block
        done += block.shape[-1]
    took["decode"].append(pipeline.decode_seconds)
    took["network"].append(pipeline.network_seconds)
    return pipeline.chunks


def peak_memory() -> int:
    """Return the most bytes that this process had so far; 0: not known."""
    if sys.platform == "win32":
        return 0
    import resource  # noqa: PLC0415 (not on Windows)

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def gpu_memory(device: torch.device) -> int:
    """Return the most bytes that torch took of the GPU so far; 0: there is none.

    Metal tells what is taken now; torch keeps what it once took.
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_reserved(device))
    if device.type == "mps":
        return int(torch.mps.driver_allocated_memory())
    return 0
