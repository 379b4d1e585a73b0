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
    """Real graphs, all in one memory pool: they never run at once, and outputs are copied out before the next one.

    All are recorded on one stream, where they were run before: each stream has a workspace of its own for the
    libraries, tens of megabytes, and keeps it.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)

    def record(self, run: Callable[[], Tensor]) -> Recording:
        graph = torch.cuda.CUDAGraph()
        caller = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(caller)
        with torch.cuda.stream(self._stream):  # also hands the caller's back where a recording ends in an error
            for _ in range(RUNS_BEFORE_CAPTURE):  # compiling, tuning and making library handles cannot be recorded
                run()
            output = self._captured(graph, run)
        caller.wait_stream(self._stream)
        return Recording(graph.replay, output)

    def _captured(self, graph: torch.cuda.CUDAGraph, run: Callable[[], Tensor]) -> Tensor:
        """Raises what `run` does: ending a recording that went wrong raises too, and says nothing of the reason."""
        reasons: list[Exception] = []
        try:
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                try:
                    return run()
                except Exception as error:
                    reasons.append(error)
                    raise
        except Exception:
            if reasons:
                raise reasons.pop() from None
            raise


class RepeatedRuns:
    """The twin for devices without graphs: a replay runs the function again, into the same output."""

    def record(self, run: Callable[[], Tensor]) -> Recording:
        output = run()
        with torch.inference_mode(mode=False):
            kept = output.clone()
        return Recording(lambda: _overwrite(kept, run), kept)


def _overwrite(output: Tensor, run: Callable[[], Tensor]) -> None:
    output.copy_(run())
