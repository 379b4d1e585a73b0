"""Compiling by region: one compiled function a block class, shared by all its instances, and all of it warm at start.

B batch, T text tokens, H W pixels.

A shape that was not warmed would compile in the middle of a request; `Compilations` counts what should be zero then.
Everything is compiled whole (`fullgraph`), so that what cannot be compiled raises instead of running slowly.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import MethodType
from typing import ParamSpec, Self, TypeVar

import torch
from torch import nn

from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.layers import DoubleStreamBlock, SingleStreamBlock

P = ParamSpec("P")
R = TypeVar("R")

BLOCK_CLASSES: tuple[type[nn.Module], ...] = (DoubleStreamBlock, SingleStreamBlock)


@dataclass(frozen=True, slots=True)
class Compiler:
    """How to compile. `backend` is torch's name of one: 'inductor' makes kernels, 'eager' only traces.

    With `dynamic` one compilation serves all shapes, at a few percent of the speed.
    """

    backend: str = "inductor"
    mode: str | None = None
    dynamic: bool = False

    def compiled(self, function: Callable[P, R]) -> Callable[P, R]:
        return torch.compile(function, fullgraph=True, dynamic=self.dynamic, backend=self.backend, mode=self.mode)


def compile_blocks(model: nn.Module, compiler: Compiler, classes: Sequence[type[nn.Module]] = BLOCK_CLASSES) -> None:
    """Every block of the model runs compiled from now on.

    Blocks of a class share one compilation, so the time does not grow with their number.
    """
    for block_class in classes:
        compiled = compiler.compiled(block_class.forward)
        for block in model.modules():
            if type(block) is block_class:
                block.forward = MethodType(compiled, block)


def compile_decoder(autoencoder: Autoencoder, compiler: Compiler) -> None:
    """The decoder in the memory format that convolutions are fastest in, compiled in one piece."""
    autoencoder.decoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    autoencoder.decoder.forward = compiler.compiled(autoencoder.decoder.forward)  # type: ignore[method-assign]


def uncompiled() -> AbstractContextManager[object]:
    """While entered, what was compiled runs as it is written, and nothing compiles."""
    return torch.compiler.set_stance("force_eager")


class Compilations:
    """How many graphs were compiled inside of a `with`; beyond torch's own limit on recompiling it raises instead."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Self:
        self._before = compiled_graphs()
        return self

    def __exit__(self, *_: object) -> None:
        self.count = compiled_graphs() - self._before


def compiled_graphs() -> int:
    """In this process, until now."""
    from torch._dynamo.utils import counters  # takes longer to import than all the rest of torch

    return counters["stats"]["unique_graphs"]


def allow_recompiling(shapes: int) -> None:
    """Raise torch's limit on compilations of one function to at least this many shapes. It never falls."""
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, 2 * shapes)
    config.accumulated_recompile_limit = max(config.accumulated_recompile_limit, 16 * shapes)
