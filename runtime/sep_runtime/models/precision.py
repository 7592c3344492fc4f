"""The precision of a network on a device, and how many items at once: measured, then kept."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import torch

import sep_models
from sep_protocol.errors import DeviceError, UsageError
from sep_runtime import memory
from sep_runtime.accel import hardware, tuning
from sep_runtime.models.running import CPU, NAMES, Runner

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from sep_protocol import Precision
    from sep_runtime.models.running import Make

ENOUGH = 40.0  # dB beside fp32: what nobody hears
PROOFS = 3  # times that a doubted network is asked: it is said to be wrong in one of three
SILENT = 1e-6  # mean square: a stem at -60 dBFS is not compared
BATCHES = (1, 2, 4, 8)  # 16 gain a twentieth on fast cards and more is empty at a song's end
SEVERAL = 4  # items that two precisions are timed with
GAIN = 0.97  # a larger batch must need less than this share of the time
CPUS = ("auto", "fp32")  # what is wanted where the CPU's own precision will do
SHARE = 0.7  # of the free memory that may be planned for
DTYPES = {name: dtype for dtype, name in NAMES.items()}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a decision needs to know of a network."""

    key: str  # the same for the same weights
    shape: tuple[int, ...]  # of an item
    example: Callable[[], Tensor]  # [1, *shape] of real sound
    bytes_of: Callable[[torch.dtype], int]  # memory that an item takes on its way
    doubted: bool = False  # whether there are reports that Metal computes it wrongly


def runner(
    make: Make,
    facts: Facts,
    device: torch.device,
    *,
    wanted: Precision,
    batch: int | None,
    to_cpu: bool,
) -> tuple[Runner, float | None]:
    """Return the network at work, and how exact in dB beside plain fp32; None for fp32.

    Raises UsageError for a precision that the device has not, DeviceError for one that gives no
    numbers with this network, and for a device that gives others than the CPU.
    """
    if facts.doubted and device.type == "mps":
        prove(make, facts, device)
    dtype, snr = _precision(make, facts, device, wanted)
    may = to_cpu and wanted in CPUS  # one that was named is not replaced
    if batch is None:
        batch = _batch(make, facts, device, dtype)
    made = Runner(make, device, dtype, batch=batch, shape=facts.shape, to_cpu=may)
    return made, snr


def prove(make: Make, facts: Facts, device: torch.device) -> None:
    """Raise DeviceError unless a device gives the CPU's stems, every time that it is asked."""

    def compared() -> tuning.Found:
        example = facts.example()
        with torch.inference_mode():
            true = Runner(make, CPU).exact()(example)[0].double()
            there = Runner(make, device)
            found = [there(example)[0].double().cpu() for _ in range(PROOFS)]
        worst = max(_error(true, each) for each in found)
        return tuning.Found(way=tuning.PLAIN, plain_ms=0.0, ms=0.0, error=worst)

    row = tuning.TABLE.row("network as on the CPU", facts.key, device, compared)
    if row.error > 10 ** (-ENOUGH / 20):
        raise DeviceError(
            f"torch computes this model wrongly on {device}: {-20 * math.log10(row.error):.0f} dB "
            "beside the CPU",
            hint="the device cpu does it",
            command="--device cpu does it",
        )


def golden(frames: int) -> Tensor:
    """[1, 2, frames]: the golden clip, again and again."""
    clip, _ = soundfile.read(sep_models.golden_clip(), dtype="float32", always_2d=True)
    tiled = np.tile(clip, (-(-frames // len(clip)), 1))[:frames].T
    return torch.from_numpy(np.ascontiguousarray(tiled)).unsqueeze(0)


def _precision(
    make: Make, facts: Facts, device: torch.device, wanted: Precision
) -> tuple[torch.dtype, float | None]:
    if wanted == "fp32" or (wanted == "auto" and device.type == "cpu"):
        return torch.float32, None
    if device.type == "cpu" and (wanted == "fp16" or not hardware.has_bf16()):
        raise UsageError(
            f"this processor does not compute in {wanted}",
            hint="precision='fp32' does",
            command="leave out --precision",
        )
    dtype = DTYPES["fp16" if wanted == "auto" else wanted]
    row = tuning.TABLE.row(
        f"network in {NAMES[dtype]}",
        facts.key,
        device,
        lambda: _compared(make, facts, device, dtype),
    )
    snr = -20 * math.log10(row.error) if row.error else math.inf
    if wanted == "auto":
        passes = snr >= ENOUGH and row.ms < row.plain_ms
        return (dtype, snr) if passes else (torch.float32, None)
    if not math.isfinite(row.error):
        raise DeviceError(
            f"this model gives no numbers in {wanted} on {device}",
            hint="precision='fp32' does",
            command="--precision fp32 does",
        )
    return dtype, snr


def _compared(make: Make, facts: Facts, device: torch.device, dtype: torch.dtype) -> tuning.Found:
    """Compare a precision with plain fp32 on the device: the worst stem's error, and both times."""
    example = facts.example()
    # One item would show how fast kernels start, not how fast they are.
    items = example.expand(SEVERAL if device.type != "cpu" else 1, *facts.shape).contiguous()
    with torch.inference_mode():
        exact = Runner(make, device).exact()
        true = exact(example)
        plain = tuning.best_of(partial(exact, items), device)
        del exact
        try:
            short = Runner(make, device, dtype, batch=len(items), shape=facts.shape)
            found = short(items)
            taken = tuning.best_of(partial(short, items), device)
        except RuntimeError as fault:
            if memory.is_short(fault):
                raise
            log.info("no %s on %s: %s", NAMES[dtype], device, fault)
            return tuning.Found(way=NAMES[dtype], plain_ms=plain, ms=plain, error=math.inf)
    error = _error(true[0].double().cpu(), found[0].double().cpu())
    return tuning.Found(way=NAMES[dtype], plain_ms=plain, ms=taken, error=error)


def _error(true: Tensor, found: Tensor) -> float:
    """[S, ...] twice: return the largest relative error of the stems that play."""
    powers = true.flatten(1).square().mean(1)
    noise = (found - true).flatten(1).square().mean(1)
    playing = powers >= min(SILENT, float(powers.max()))
    worst = float((noise / powers)[playing].max().sqrt())
    return worst if math.isfinite(worst) else math.inf


def _batch(make: Make, facts: Facts, device: torch.device, dtype: torch.dtype) -> int:
    """Return how many items at once: what fits, and of that what was the fastest."""
    if device.type == "cpu":
        return 1  # more gain nothing there
    room = SHARE * free(device) / max(1, facts.bytes_of(dtype))
    fitting = [each for each in BATCHES if each <= room] or [1]
    if len(fitting) < len(BATCHES):  # another program has the memory: not to be remembered
        return fitting[-1]
    row = tuning.TABLE.row(
        f"batch in {NAMES[dtype]}", facts.key, device, lambda: _fastest(make, facts, device, dtype)
    )
    return int(row.way)


def _fastest(make: Make, facts: Facts, device: torch.device, dtype: torch.dtype) -> tuning.Found:
    example = facts.example().to(device)
    times: dict[int, float] = {}
    for batch in BATCHES:
        items = example.expand(batch, *facts.shape).contiguous()
        with torch.inference_mode():
            made = Runner(make, device, dtype, batch=batch, shape=facts.shape)
            made(items)
            taken = tuning.best_of(partial(made, items), device) / batch
        gains = not times or taken < GAIN * min(times.values())
        times[batch] = taken
        if not gains or made.batch < batch:
            break
    best = min(times, key=lambda each: times[each])
    return tuning.Found(way=str(best), plain_ms=times[1], ms=times[best], error=0.0)


def free(device: torch.device) -> int:
    """Return the bytes of a GPU's memory that this process can still take."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
