"""Processes that render clips without end, and a thread that moves them to the pool."""

from __future__ import annotations

import multiprocessing
import queue
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from random_clips import draw_clip, quantised

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

    from kits import Groove, Kit
    from pool import Pool
    from stems import Pcm


def _work(
    out: Queue[Pcm], bank: dict[str, Kit], grooves: list[Groove], seed: int, number: int
) -> None:
    torch.set_num_threads(1)
    count = 0
    while True:
        rng = np.random.default_rng([seed, number, count])
        out.put(quantised(draw_clip(rng, bank, grooves)))
        count += 1


class Renderers:
    """Forked renderers; start them before the parent touches a GPU."""

    def __init__(
        self, bank: dict[str, Kit], grooves: list[Groove], *, processes: int, seed: int
    ) -> None:
        context = multiprocessing.get_context("fork")
        self._queue: Queue[Pcm] = context.Queue(2 * processes)
        self._processes = [
            context.Process(
                target=_work, args=(self._queue, bank, grooves, seed, number), daemon=True
            )
            for number in range(processes)
        ]
        for process in self._processes:
            process.start()
        self._stop = threading.Event()

    def feed(self, pool: Pool, first: int, per_second: float) -> threading.Thread:
        """Fill the pool: `first` clips as fast as they come, then at most `per_second`."""

        def run() -> None:
            while not self._stop.is_set():
                try:
                    clip = self._queue.get(timeout=1)
                except queue.Empty:
                    continue
                pool.add(torch.from_numpy(clip))
                if pool.seen > first:
                    time.sleep(1 / per_second)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        """End the processes."""
        self._stop.set()
        for process in self._processes:
            process.kill()
