"""What ran once is replayed without asking the processor again: CUDA graphs, and their twin where there are none."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

RUNS_BEFORE_CAPTURE = 3


@dataclass(frozen=True, slots=True)
class Recording:
    """`replay` computes again from the inputs' present content; `output` is overwritten by it."""

    replay: Callable[[], None]
    output: Tensor


class GraphBackend(Protocol):
    def record(self, run: Callable[[], Tensor]) -> Recording: ...


class CudaGraphs:
    """Real graphs, all in one memory pool: they never run at once, and outputs are copied out before the next one."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, run: Callable[[], Tensor]) -> Recording:
        with torch.cuda.device(self._device):  # streams are those of the current device
            self._settle(run)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool):
                output = run()
        return Recording(graph.replay, output)

    def _settle(self, run: Callable[[], Tensor]) -> None:
        """Compiling, tuning and the making of library handles must not be recorded."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(RUNS_BEFORE_CAPTURE):
                run()
        torch.cuda.current_stream().wait_stream(stream)


class RepeatedRuns:
    """The twin for devices without graphs: a replay runs the function again, into the same output."""

    def record(self, run: Callable[[], Tensor]) -> Recording:
        output = run()
        with torch.inference_mode(mode=False):
            kept = output.clone()
        return Recording(lambda: _overwrite(kept, run), kept)


def _overwrite(output: Tensor, run: Callable[[], Tensor]) -> None:
    output.copy_(run())
