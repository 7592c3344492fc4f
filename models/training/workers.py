"""Processes that render clips without end, and a thread that moves them to the pool."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from notes import SECONDS
from random_clips import draw_clip, quantised
from stems import RATE, STEMS

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

    from kits import Groove, Kit
    from pool import Pool
    from torch import Tensor


def _work(
    ready: Queue[int],
    free: Queue[int],
    clips: Tensor,
    record: tuple[dict[str, Kit], list[Groove]],
    seed: tuple[int, int],
) -> None:
    """Render into free slots of the shared clips, and tell which are ready."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that trains ends this one
    torch.set_num_threads(1)
    os.nice(19)  # the process that trains comes first
    count = 0
    while True:
        rng = np.random.default_rng([*seed, count])
        clip = quantised(draw_clip(rng, *record))
        slot = free.get()
        clips[slot].numpy()[:] = clip
        ready.put(slot)
        count += 1


class Renderers:
    """Forked renderers that share their clips' memory; start them before the parent's GPU."""

    def __init__(
        self, bank: dict[str, Kit], grooves: list[Groove], *, processes: int, seed: int
    ) -> None:
        context = multiprocessing.get_context("fork")
        slots = 3 * processes
        length = int(SECONDS * RATE)
        self._clips = torch.zeros(slots, len(STEMS), 2, length, dtype=torch.int16)
        self._clips.share_memory_()  # type: ignore[no-untyped-call]
        self._ready: Queue[int] = context.Queue()
        self._free: Queue[int] = context.Queue()
        for slot in range(slots):
            self._free.put(slot)
        self._processes = [
            context.Process(
                target=_work,
                args=(self._ready, self._free, self._clips, (bank, grooves), (seed, number)),
                daemon=True,
            )
            for number in range(processes)
        ]
        for process in self._processes:
            process.start()
        self._stop = threading.Event()
        self.more = threading.Event()  # until then no more than the first clips are rendered

    def feed(self, pool: Pool, first: int, per_second: float) -> threading.Thread:
        """Fill the pool: `first` clips as fast as they come, then at most `per_second`."""

        def run() -> None:
            while not self._stop.is_set():
                try:
                    slot = self._ready.get(timeout=1)
                except queue.Empty:
                    continue
                pool.add(self._clips[slot])
                self._free.put(slot)
                if pool.seen >= first:
                    self.more.wait()
                    time.sleep(1 / per_second)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        """End the processes."""
        self._stop.set()
        self.more.set()
        for process in self._processes:
            process.kill()
