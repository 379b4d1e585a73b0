"""The networks as graphs: steps, modulation, text encoders and decoder are each recorded, once a shape.

S steps, B batch, L image tokens, T text tokens, C hidden size, N modulation tensors of one step.

One denoising *step* is a graph, not the whole loop: between two replays there is room to report progress, to cancel
and to make a preview, for the price of three launches a step.  So that a step's modulation, some three hundred small
tensors, is one copy instead of as many, it travels stacked in one tensor (`StackedStep`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from bildwerk.engine.gpu.footprint import blocks_of, modulations_of
from bildwerk.engine.gpu.recorder import BatchAxes, Graphed, Recorder
from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.clip import ClipTextEncoder
from bildwerk.flux.layers import DoubleModulation, FinalModulation, ModulationOut
from bildwerk.flux.params import TransformerParams
from bildwerk.flux.t5 import T5Encoder
from bildwerk.flux.transformer import Flux, StepModulation


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
