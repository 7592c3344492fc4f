"""A network of fixed shape as one CUDA graph: hundreds of kernels start as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

WARM = 2  # runs before the capture, in which libraries choose their ways and take their memory


class Graph:
    """Replays `network` for up to as many items as `example` has.

    Raises RuntimeError where it cannot be captured, or memory is short. One thread at a time.
    """

    def __init__(self, network: Callable[[Tensor], Tensor], example: Tensor) -> None:
        self._input = example.clone()
        aside = torch.cuda.Stream(example.device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(example.device))
        with torch.cuda.stream(aside):
            for _ in range(WARM):
                network(self._input)
        torch.cuda.current_stream(example.device).wait_stream(aside)
        torch.cuda.empty_cache()  # what the warm runs took, for the graph has memory of its own
        self._graph = torch.cuda.CUDAGraph()
        # Only this thread is watched for what a capture forbids: others copy meanwhile.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._output = network(self._input)

    def __call__(self, x: Tensor) -> Tensor:
        """[n, ...] to [n, ...]."""
        self._input.narrow(0, 0, len(x)).copy_(x)
        self._graph.replay()
        return self._output.narrow(0, 0, len(x)).clone()
