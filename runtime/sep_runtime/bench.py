"""What a model costs on this machine, and what the field's own schemes cost on the same network."""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import torch
from torch.nn import functional

import sep_models
from sep_protocol import Benched, Measured, Phase
from sep_protocol.errors import UsageError
from sep_runtime.models.mdx23c import Mdx23c

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from sep_protocol import Bench, Event
    from sep_runtime.api import Model

    Network = Callable[[Tensor], Tensor]

UVR_OVERLAP = 8


def bench(model: Model, wanted: Bench, emit: Callable[[Event], None]) -> Benched:
    """Measure the model on drums of the wanted length, all schemes in turn in every run."""
    emit(Phase(name="bench"))
    separator = model.loaded.separator
    mix = _drums(wanted.seconds, separator.sample_rate)
    schemes: dict[str, Callable[[], int]] = {
        "sep": lambda: _ours(model, mix, separator.sample_rate)
    }
    if wanted.baselines:
        if not isinstance(separator, Mdx23c):
            raise UsageError("the baselines are schemes of MDX23C", hint="--no-baselines")
        network, cut = separator.runner.exact(), separator.cut
        device = model.choice.device
        moved = torch.from_numpy(mix).to(device)
        schemes["demix"] = lambda: demix(network, moved, cut.chunk, cut.hop)[1]
        schemes["uvr"] = lambda: uvr(network, moved, cut.chunk)[1]
    times: dict[str, list[float]] = {name: [] for name in schemes}
    chunks: dict[str, int] = {}
    _ours(model, mix[:, : separator.cut.chunk], separator.sample_rate)  # warm
    peak = 0
    for number in range(1, wanted.runs + 1):
        for name, run in schemes.items():
            emit(Phase(name="bench", detail=f"{name}, run {number} of {wanted.runs}"))
            begun = time.perf_counter()
            with torch.inference_mode():
                chunks[name] = run()
            if model.choice.device.type == "cuda":
                torch.cuda.synchronize(model.choice.device)
            times[name].append(time.perf_counter() - begun)
            peak = peak or peak_memory(model.choice.device)
    rows = []
    for name, seconds in times.items():
        median = statistics.median(seconds)
        rows.append(
            Measured(
                scheme=name,
                seconds=median,
                real_time=wanted.seconds / median,
                chunks=chunks[name],
                ratio=median / statistics.median(times["sep"]),
            )
        )
    cut = separator.cut
    return Benched(
        model=model.loaded.manifest.name,
        device=model.device,
        audio_seconds=wanted.seconds,
        runs=wanted.runs,
        chunk=cut.chunk,
        hop=cut.hop,
        peak_memory=peak,
        measured=tuple(rows),
    )


def _drums(seconds: float, sample_rate: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """[2, T]: the golden clip, again and again."""
    clip, _ = soundfile.read(sep_models.golden_clip(), dtype="float32", always_2d=True)
    frames = max(1, round(seconds * sample_rate))
    return np.ascontiguousarray(np.tile(clip, (-(-frames // len(clip)), 1))[:frames].T)


def _ours(
    model: Model, mix: np.ndarray[tuple[int, ...], np.dtype[np.float32]], sample_rate: int
) -> int:
    pipeline = model.open(sample_rate=sample_rate, channels=2, level=[])
    found = list(pipeline.run(np.array_split(mix, max(1, mix.shape[1] >> 16), axis=1)))
    np.concatenate(found, -1)
    return pipeline.chunks


def demix(network: Network, mix: Tensor, chunk: int, hop: int) -> tuple[Tensor, int]:
    """[C, T] to ([S, C, T], chunks) as the public training tools' `demix` does it.

    The mix is reflected by chunk - hop at both ends, chunks are faded linearly over a tenth, and
    what is too short at the end is padded (ZFTurbo, Music-Source-Separation-Training).
    """
    length, border, fade = mix.shape[-1], chunk - hop, chunk // 10
    padded = length > 2 * border > 0
    if padded:
        mix = functional.pad(mix.unsqueeze(0), (border, border), mode="reflect")[0]
    total, count = mix.shape[-1], 0
    result, weights = None, torch.zeros(total, device=mix.device)
    for start in range(0, total, hop):
        part = mix[:, start : start + chunk]
        size = part.shape[-1]
        if size < chunk:
            mode = "reflect" if size > chunk // 2 + 1 else "constant"
            part = functional.pad(part.unsqueeze(0), (0, chunk - size), mode=mode)[0]
        window = torch.ones(chunk, device=mix.device)
        if start > 0:
            window[:fade] = torch.linspace(0, 1, fade, device=mix.device)
        if start + chunk < total:
            window[-fade:] = torch.linspace(1, 0, fade, device=mix.device)
        output = network(part.unsqueeze(0))[0]
        count += 1
        if result is None:
            result = torch.zeros(output.shape[0], output.shape[1], total, device=mix.device)
        result[..., start : start + size] += (output * window)[..., :size]
        weights[start : start + size] += window[:size]
    if result is None:
        raise UsageError("there is nothing to separate")
    result = (result / weights).nan_to_num(0)
    return (result[..., border : border + length] if padded else result), count


def uvr(network: Network, mix: Tensor, chunk: int) -> tuple[Tensor, int]:
    """[C, T] to ([S, C, T], chunks) as Ultimate Vocal Remover does it.

    Overlap 8, one chunk at a time, no window, silence before and after.
    """
    hop = chunk // UVR_OVERLAP
    length, front = mix.shape[-1], chunk - hop
    rest = hop - (length - chunk) % hop
    padded = functional.pad(mix, (front, rest + front))
    result, count = None, 0
    for start in range(0, padded.shape[-1] - chunk + 1, hop):
        output = network(padded[:, start : start + chunk].unsqueeze(0))[0]
        count += 1
        if result is None:
            result = torch.zeros(*output.shape[:2], padded.shape[-1], device=mix.device)
        result[..., start : start + chunk] += output
    if result is None:
        raise UsageError("there is nothing to separate")
    return result[..., front : front + length] / UVR_OVERLAP, count


def peak_memory(device: torch.device) -> int:
    """Return the most bytes so far, of the GPU or of this process; 0: not known."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return 0
    import resource  # noqa: PLC0415 (not on Windows)

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
