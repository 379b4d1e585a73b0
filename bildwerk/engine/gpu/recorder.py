"""A function of tensors becomes recordings, one a shape; and what happens to shapes that were never recorded."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bildwerk.engine.gpu.graph_backend import GraphBackend, Recording, RepeatedRuns
from bildwerk.engine.gpu.streaming import is_streamed


class Recorder:
    """Records every shape that comes while it is open. Once sealed, what was never recorded is computed by parts of
    the batch that were, or else plainly, and counted: nothing is compiled or recorded in the middle of a request.

    `plainly` is entered for such a call. Beyond `max_graphs` of one function none is recorded, open or not.
    """

    def __init__(
        self,
        backend: GraphBackend,
        plainly: Callable[[], AbstractContextManager[object]] = nullcontext,
        max_graphs: int = 32,
    ) -> None:
        self.backend, self.plainly, self.max_graphs = backend, plainly, max_graphs
        self.is_open = True
        self.recorded = 0
        self.plain_runs = 0

    def seal(self) -> None:
        self.is_open = False

    def backend_for(self, modules: Sequence[nn.Module]) -> GraphBackend:
        """What is streamed lies elsewhere at each call, which no graph would notice: it is run again instead."""
        return RepeatedRuns() if any(map(is_streamed, modules)) else self.backend


@dataclass(frozen=True, slots=True)
class _Graph:
    inputs: tuple[Tensor, ...]
    recording: Recording


@dataclass(frozen=True, slots=True)
class BatchAxes:
    """Along which axis each input, and the output, has one entry a picture; None: the same for all."""

    inputs: tuple[int | None, ...]
    output: int = 0

    def size(self, inputs: Sequence[Tensor]) -> int:
        return next(x.shape[axis] for x, axis in zip(inputs, self.inputs, strict=False) if axis is not None)

    def part(self, inputs: Sequence[Tensor], begin: int, count: int) -> tuple[Tensor, ...]:
        """The inputs of `count` pictures."""
        return tuple(
            x if axis is None else x.narrow(axis, begin, count) for x, axis in zip(inputs, self.inputs, strict=False)
        )


class Graphed:
    """A function of tensors, recorded once for each combination of shapes and types, then replayed.

    `modules` are those that it calls and that may be streamed.
    """

    def __init__(
        self, run: Callable[..., Tensor], recorder: Recorder, axes: BatchAxes, modules: Sequence[nn.Module] = ()
    ) -> None:
        self._run = run
        self._recorder = recorder
        self._axes = axes
        self._backend = recorder.backend_for(modules)
        self._graphs: dict[tuple[object, ...], _Graph] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        """A copy of the output, so that the next call does not overwrite it."""
        if (graph := self._graph_for(inputs)) is not None:
            return _replayed(graph, inputs)
        if (count := self._recorded_part(inputs)) is not None:
            return self._in_parts(inputs, count)
        self._recorder.plain_runs += 1
        with self._recorder.plainly():
            return self._run(*inputs)

    def _graph_for(self, inputs: Sequence[Tensor]) -> _Graph | None:
        key = _key(inputs)
        if key not in self._graphs and self._recorder.is_open and len(self._graphs) < self._recorder.max_graphs:
            with torch.inference_mode(mode=False):  # so that they may be written to in any mode
                static = tuple(x.clone(memory_format=torch.contiguous_format) for x in inputs)
            self._graphs[key] = _Graph(static, self._backend.record(lambda: self._run(*static)))
            self._recorder.recorded += 1
        return self._graphs.get(key)

    def _recorded_part(self, inputs: Sequence[Tensor]) -> int | None:
        """The most pictures of this batch that can be replayed at once."""
        sizes = range(self._axes.size(inputs) - 1, 0, -1)
        return next((size for size in sizes if _key(self._axes.part(inputs, 0, size)) in self._graphs), None)

    def _in_parts(self, inputs: Sequence[Tensor], count: int) -> Tensor:
        size = self._axes.size(inputs)
        cuts = [(begin, min(count, size - begin)) for begin in range(0, size, count)]
        return torch.cat([self(*self._axes.part(inputs, *cut)) for cut in cuts], dim=self._axes.output)


def _key(inputs: Sequence[Tensor]) -> tuple[object, ...]:
    return tuple((x.shape, x.dtype, x.device) for x in inputs)


def _replayed(graph: _Graph, inputs: Sequence[Tensor]) -> Tensor:
    for static, given in zip(graph.inputs, inputs, strict=True):
        static.copy_(given)
    graph.recording.replay()
    return graph.recording.output.clone()
