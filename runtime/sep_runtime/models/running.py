"""A network at work: where, in which precision, how many items at once, and what then is short."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol

import torch

from sep_protocol import Fallback
from sep_runtime import memory
from sep_runtime.accel import cuda, operators, tuning
from sep_runtime.accel.graph import Graph

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from sep_runtime.streams.turns import Turns

    Network = Callable[[Tensor], Tensor]

CPU = torch.device("cpu")
TOGETHER, ALTERNATE = "all models in memory", "one model in memory at a time"
NAMES = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}

log = logging.getLogger(__name__)


class Make(Protocol):
    """Gives a network with its weights."""

    def __call__(self, device: torch.device, dtype: torch.dtype) -> Network:
        """Return it on a device; what it gives is float32."""


class Runner:
    """[n, ...] to [n, ...] through a network, for any n; threads may share it.

    Where memory is short the batch halves; of one item, networks that it shares the memory with
    make room; then the CPU goes on if `to_cpu` allows it; else MemoryLimitError is raised. Every
    step is told to `tell`. `shape` is that of one item of most calls: on an NVIDIA GPU these are
    replayed as a graph.
    """

    def __init__(
        self,
        make: Make,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        *,
        batch: int = 1,
        shape: tuple[int, ...] = (),
        to_cpu: bool = False,
    ) -> None:
        self.device = device
        self.dtype = dtype
        self.batch = batch
        self.tell: Callable[[Fallback], None] = lambda step: log.warning("%s", step.reason)
        self.plain = False  # whether nothing but torch's plain operators is used
        self._make = make
        self._shape = shape
        self._to_cpu = to_cpu
        self._lock = threading.RLock()
        self._turns: Turns | None = None
        self._release: Callable[[], None] | None = None
        self._network: Network | None = make(device, dtype)
        self._graph: Graph | None = None
        self._graphed = device.type == "cuda"

    @property
    def network(self) -> Network:
        """The network, made again if it had left."""
        if self._network is None:
            if self._turns:
                self._turns.make_room(self)
            self._network = self._make(self.device, self.dtype)
        return self._network

    def share(self, turns: Turns, release: Callable[[], None]) -> None:
        """Share memory with other networks; `release` gives up what this one is made from."""
        self._turns, self._release, self._lock = turns, release, turns.lock
        turns.join(self)

    def leave(self) -> bool:
        """Give up the network's memory until it is asked again; say whether there was one."""
        was_there = self._network is not None
        self._network = self._graph = None
        if self._release and self.device.type == "cpu":
            self._release()
        _empty(self.device)
        return was_there

    @property
    def precision(self) -> str:
        """fp32, fp16 or bf16."""
        return NAMES[self.dtype]

    def ways(self) -> tuple[str, ...]:
        """Return what is done faster than by torch's plain operators, as far as it has run."""
        found = {row.way for row in tuning.TABLE.used() if row.operator in operators.TUNED}
        if cuda.is_used():
            found.add("fused kernels")
        if self._graph is not None:
            found.add("graph")
        return tuple(sorted(found - {tuning.PLAIN}))

    def exact(self) -> Runner:
        """Return the same in float32 by plain operators, to compare others with."""
        exact = Runner(self._make, self.device)
        exact.plain = True
        return exact

    def __call__(self, x: Tensor) -> Tensor:
        """[n, ...] to [n, ...] on the device that did it."""
        done: list[Tensor] = []
        at = 0
        while at < len(x):
            with self._lock:
                count, short = min(self.batch, len(x) - at), ""
                try:
                    with self._here():
                        done.append(self._run(self._sent(x.narrow(0, at, count))))
                    at += count
                except (RuntimeError, MemoryError) as fault:
                    if not memory.is_short(fault):
                        raise
                    short = memory.brief(fault)
                # Out of the handler, whose fault holds on to what did not fit.
                if short:
                    self._less(short)
        if len(done) == 1:
            return done[0]
        return torch.cat([each.to(self.device) for each in done])

    def _sent(self, x: Tensor) -> Tensor:
        """Return it on the device, without waiting for what the device still does."""
        if self.device.type != "cuda" or x.is_cuda:
            return x.to(self.device)
        return x.pin_memory().to(self.device, non_blocking=True)

    def _run(self, x: Tensor) -> Tensor:
        if not self._graphed or tuple(x.shape[1:]) != self._shape:
            return self.network(x)
        if self._graph is None:
            full = x.new_zeros(self.batch, *self._shape)
            full.narrow(0, 0, len(x)).copy_(x)
            try:
                self._graph = Graph(self.network, full)
            except RuntimeError as fault:
                if memory.is_short(fault):
                    raise
                log.info("no CUDA graph: %s", fault)
                self._graphed = False
                return self.network(x)
        return self._graph(x)

    @contextmanager
    def _here(self) -> Iterator[None]:
        """Work on the device, with float32 as exact as it says.

        What is no operator of torch (our kernels, graphs, pinned memory) is for the current GPU.
        By default cuDNN rounds what it multiplies to ten bits.
        """
        with ExitStack() as stack:
            if self.plain:
                stack.enter_context(operators.plain())
            if self.device.type == "cuda":
                stack.enter_context(torch.cuda.device(self.device))
            if self.device.type == "cuda" and self.dtype == torch.float32:
                stack.enter_context(torch.backends.cudnn.flags(enabled=True, allow_tf32=False))
            yield

    def _less(self, reason: str) -> None:
        """Take the next step down; raise MemoryLimitError where there is none."""
        self._graph = None
        _empty(self.device)
        if self.batch > 1:
            was, self.batch = self.batch, self.batch // 2
            step = Fallback(was=f"batch {was}", now=f"batch {self.batch}", reason=reason)
        elif self._turns and self._turns.make_room(self):
            step = Fallback(was=TOGETHER, now=ALTERNATE, reason=reason)
        elif self._to_cpu and self.device.type != "cpu":
            was_device = str(self.device)
            self.device, self.dtype, self._graphed = CPU, torch.float32, False
            self._network = self._make(CPU, torch.float32)
            step = Fallback(was=was_device, now="cpu", reason=reason)
        else:
            raise memory.error(RuntimeError(reason))
        self.tell(step)


def _empty(device: torch.device) -> None:
    """Give memory that is not used back, so that something else fits."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    else:
        memory.give_back()
