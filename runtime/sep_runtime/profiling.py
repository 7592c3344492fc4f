"""Which operators a pass spends its time in, grouped as people speak of them."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.profiler import ProfilerActivity, profile

from sep_protocol import Operator, Profiled, Share
from sep_protocol.errors import PathError
from sep_runtime.streams.ahead import Ahead

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

    from sep_runtime.streams.overlap import Separator

LISTED = 40  # operators; what is smaller is only in its group
BLOCK = 1 << 16  # samples, as a file is read
US = 1e-6
BETWEEN = "between operators"  # the processor's time outside of them: Python, the profiler
IDLE = "GPU idle"  # nothing runs there: it waits to be given work
OTHER = "other"
# The first that is found in a name counts. Kernels are called after what cuDNN, cuBLAS, CUTLASS,
# cuFFT and PyTorch are made of; layout is told before the convolutions that ask for it.
GROUPS = (
    ("copies and layout", r"(nchw|nhwc)to|memcpy|memset|copy|transpose|permute"),
    ("Fourier transforms", r"fft|stft|bluestein"),
    ("convolutions", r"conv|fprop|dgrad|implicit|winograd|nnpack"),
    ("norms and activations", r"norm|moments|fusedparams|[gr]elu|softmax|sigmoid|tanh|welford"),
    ("linear layers", r"gemm|gemv|addmm|addbmm|matmul|linear|bmm|::mm\b|cutlass|cublas|nvjet"),
    (
        "copies and layout",
        r"aten::(cat|stack|clone|fill|zero|to)|\bpad|_pad|fillfunctor",
    ),
    ("sums and products", r"add|mul|div|sub|sum|mean|reduce|elementwise|vectorized"),
)
# What may name the machine and its user.
PRIVATE = ("host_name", "traceName")


def profiled(
    separator: Separator, mix: Tensor, device: torch.device, trace: str | None
) -> Profiled:
    """[C, T] on the host, at the model's rate, to where the time of a pass over it goes.

    The model has to be warm. `trace` is the file for the times of every single call, which Chrome
    and Perfetto show. Raises PathError where that cannot be written.
    """
    # The profiler sees one thread alone, and for CUDA it wants to be begun in the first one. For
    # the CPU it is a new one, as in a run: the threads that compute for the first wait otherwise.
    if device.type == "cuda":
        return next(_profiled(separator, mix, device, trace))
    with Ahead(_profiled(separator, mix, device, trace), 1) as found:
        return next(iter(found))


def _profiled(
    separator: Separator, mix: Tensor, device: torch.device, trace: str | None
) -> Iterator[Profiled]:
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities):  # what it has to begin with once, takes 0.2 s on CUDA
        _pass(separator, mix[:, :BLOCK], device)
    with profile(activities=activities) as seen:
        begun = time.perf_counter()
        _pass(separator, mix, device)
        seconds = time.perf_counter() - begun
    if trace is not None:
        _export(seen, Path(trace))
    yield _of_kernels(seen, seconds) if device.type == "cuda" else _of_operators(seen, seconds)


def group_of(name: str) -> str:
    """Return the group of an operator or a kernel."""
    lower = name.lower()
    return next((group for group, words in GROUPS if re.search(words, lower)), OTHER)


def _pass(separator: Separator, mix: Tensor, device: torch.device) -> None:
    stream = separator.stream()
    with torch.inference_mode():
        for start in range(0, mix.shape[-1], BLOCK):
            stream.push(mix[:, start : start + BLOCK]).cpu()
        stream.finish().cpu()
        if device.type == "cuda":
            torch.cuda.synchronize(device)


def _of_operators(seen: profile, seconds: float) -> Profiled:
    rows = [(each.key, each.count, each.self_cpu_time_total * US) for each in seen.key_averages()]
    busy = sum(own for _, _, own in rows)
    return _gathered(rows, seconds, (BETWEEN, max(0.0, seconds - busy)), "cpu")


def _of_kernels(seen: profile, seconds: float) -> Profiled:
    """Return the shares of what ran on the GPU, also of what a CUDA graph replayed."""
    kernels = [
        each
        for each in seen.events() or ()  # type: ignore[no-untyped-call]
        if each.device_type.name == "CUDA" and not getattr(each, "is_user_annotation", False)
    ]
    calls: dict[str, int] = defaultdict(int)
    took: dict[str, float] = defaultdict(float)
    for each in kernels:
        calls[each.name] += 1
        took[each.name] += (each.time_range.end - each.time_range.start) * US
    busy = _union((each.time_range.start, each.time_range.end) for each in kernels) * US
    rows = [(name, calls[name], own) for name, own in took.items()]
    return _gathered(rows, seconds, (IDLE, max(0.0, seconds - busy)), "cuda")


def _union(spans: Iterable[tuple[float, float]]) -> float:
    """Return how long at least one of the spans lasts: streams may run beside each other."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _gathered(
    rows: Iterable[tuple[str, int, float]], seconds: float, rest: tuple[str, float], side: str
) -> Profiled:
    whole = max(seconds, 1e-9)
    operators = [
        Operator(name=name, group=group_of(name), calls=calls, seconds=own, share=own / whole)
        for name, calls, own in rows
    ]
    took: dict[str, float] = defaultdict(float)
    for each in operators:
        took[each.group] += each.seconds
    took[rest[0]] += rest[1]
    groups = [Share(group=name, seconds=own, share=own / whole) for name, own in took.items()]
    return Profiled(
        seconds=seconds,
        side=side,
        groups=tuple(sorted(groups, key=lambda each: -each.seconds)),
        operators=tuple(sorted(operators, key=lambda each: -each.seconds)[:LISTED]),
    )


def _export(seen: profile, path: Path) -> None:
    """Write the trace, whole or not at all, without the names of the machine and its folders."""
    new = path.with_name(f"{path.name}.new")
    try:
        try:
            seen.export_chrome_trace(str(new))
            found: dict[str, Any] = json.loads(new.read_text(encoding="utf-8", errors="replace"))
            for name in PRIVATE:
                found.pop(name, None)
            new.write_text(json.dumps(found), encoding="utf-8")
            new.replace(path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                new.unlink()
    except (OSError, RuntimeError) as fault:
        raise PathError(f"the trace cannot be written: {fault}") from fault
