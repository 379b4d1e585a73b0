"""CUDA graphs: what ran once is replayed without asking the processor again, one graph a shape.

S steps, B batch, L image tokens, T text tokens, C hidden size, N modulation tensors of one step.

One denoising *step* is a graph, not the whole loop: between two replays there is room to report progress, to cancel
and to make a preview, for the price of three launches a step.  So that a step's modulation, some three hundred small
tensors, is one copy instead of as many, it travels stacked in one tensor (`StackedStep`).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import torch
from torch import Tensor, nn

from bildwerk.engine.gpu.footprint import blocks_of, modulations_of
from bildwerk.engine.gpu.streaming import is_streamed
from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.clip import ClipTextEncoder
from bildwerk.flux.layers import DoubleModulation, FinalModulation, ModulationOut
from bildwerk.flux.params import TransformerParams
from bildwerk.flux.t5 import T5Encoder
from bildwerk.flux.transformer import Flux, StepModulation

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


@dataclass(frozen=True, slots=True)
class StackedStep(StepModulation):
    """One step's modulation whose tensors are all views into `stack`, N B 1 C."""

    stack: Tensor


def stack_of(step: StepModulation) -> Tensor:
    """All tensors of one step, in the order of the blocks: N B 1 C."""
    return step.stack if isinstance(step, StackedStep) else torch.stack(list(_tensors(step)))


def _tensors(step: StepModulation) -> Iterator[Tensor]:
    for block in step.double_blocks:
        for layer in block:
            yield from layer
    for single in step.single_blocks:
        yield from single
    yield from step.final_layer


def unstack(stack: Tensor, params: TransformerParams) -> StackedStep:
    """stack: N B 1 C -> the modulation that it was made of, as views."""
    parts = iter(stack.unbind(0))
    doubles = tuple(DoubleModulation(*(_layer(parts) for _ in range(4))) for _ in range(params.depth))
    singles = tuple(_layer(parts) for _ in range(params.depth_single_blocks))
    return StackedStep(doubles, singles, FinalModulation(*parts), stack)


def _layer(parts: Iterator[Tensor]) -> ModulationOut:
    return ModulationOut(*islice(parts, 3))


class _GraphedFlux:
    """`forward` and `modulation` of a model as graphs."""

    def __init__(self, model: Flux, recorder: Recorder) -> None:
        self._params = model.params
        self._forward, self._modulation = model.forward, model.modulation
        step, prompt = BatchAxes((0, 0, None, 1)), BatchAxes((1, 0, 0), output=2)
        self._velocity = Graphed(self._velocity_of_stack, recorder, step, blocks_of(model))
        self._stacks = Graphed(self._stacks_of_all_steps, recorder, prompt, modulations_of(model))

    def forward(self, img: Tensor, txt: Tensor, rotary: Tensor, modulation: StepModulation) -> Tensor:
        """As `Flux.forward`."""
        return self._velocity(img, txt, rotary, stack_of(modulation))

    def modulation(self, timesteps: Tensor, pooled: Tensor, guidance: Tensor | None = None) -> list[StepModulation]:
        """As `Flux.modulation`."""
        given = (timesteps, pooled) if guidance is None else (timesteps, pooled, guidance)
        return [unstack(stack, self._params) for stack in self._stacks(*given)]

    def _velocity_of_stack(self, img: Tensor, txt: Tensor, rotary: Tensor, stack: Tensor) -> Tensor:
        return self._forward(img, txt, rotary, unstack(stack, self._params))

    def _stacks_of_all_steps(self, *given: Tensor) -> Tensor:
        return torch.stack([stack_of(step) for step in self._modulation(*given)])


def graph_transformer(model: Flux, recorder: Recorder) -> None:
    """`forward` and `modulation` of this model are graphs from now on, one for each shape of either."""
    graphed = _GraphedFlux(model, recorder)
    model.forward = graphed.forward  # type: ignore[method-assign]
    model.modulation = graphed.modulation  # type: ignore[method-assign]


def graph_encoder(encoder: T5Encoder | ClipTextEncoder, recorder: Recorder) -> None:
    """`forward` of this text encoder is a graph from now on."""
    encoder.forward = Graphed(encoder.forward, recorder, BatchAxes((0,)), list(encoder.modules()))  # type: ignore[assignment, method-assign]


def graph_decoder(autoencoder: Autoencoder, recorder: Recorder) -> None:
    """`decode` of this autoencoder is a graph from now on."""
    autoencoder.decode = Graphed(autoencoder.decode, recorder, BatchAxes((0,)))  # type: ignore[assignment, method-assign]
