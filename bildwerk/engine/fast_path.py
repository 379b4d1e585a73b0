"""Everything that makes a model fast, applied to it from outside: its modules are called as before.

The networks are changed in place, but only by what hangs on an instance: other attention, other arithmetic, other
`forward`.  `as_written` takes all of it back, quantized weights excepted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from bildwerk.engine import attention_backend, precision, single_buffer
from bildwerk.engine.compile import Compiler, compile_blocks, compile_decoder
from bildwerk.engine.graphs import (
    CudaGraphs,
    GraphBackend,
    RepeatedRuns,
    graph_decoder,
    graph_encoder,
    graph_transformer,
)
from bildwerk.engine.precision import Precision
from bildwerk.flux.attention import Attend, attention
from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.clip import ClipTextEncoder
from bildwerk.flux.t5 import T5Encoder
from bildwerk.flux.transformer import Flux

REPLACED = ("forward", "modulation", "decode")


class Networks(Protocol):
    """The four networks of one model, wherever they are held."""

    @property
    def transformer(self) -> Flux: ...
    @property
    def t5(self) -> T5Encoder: ...
    @property
    def clip(self) -> ClipTextEncoder: ...
    @property
    def autoencoder(self) -> Autoencoder: ...


@dataclass(frozen=True, slots=True)
class Speed:
    """What to apply. Without a compiler the single-stream blocks use one buffer instead; graphs go with either."""

    precision: Precision = Precision.BF16
    compiler: Compiler | None = None
    graphs: bool = False
    attend: Attend = attention


def best_speed(networks: Networks, chosen: Precision, tokens: int, batch: int = 1) -> Speed:
    """What is fastest on the device that the networks lie on. tokens: text and image, of the usual request."""
    weight = networks.transformer.img_in.weight
    choice = attention_backend.fastest(networks.transformer.params, batch, tokens, weight.dtype, weight.device)
    compiler = Compiler() if weight.is_cuda else None
    return Speed(chosen, compiler, graphs=weight.is_cuda, attend=choice.candidate.attend)


def accelerate(networks: Networks, speed: Speed) -> None:
    """Compiling and recording happen at the first call of each shape: warm up, in the gradient mode of later calls."""
    precision.use(speed.precision, networks.transformer)
    attention_backend.use(speed.attend, networks.transformer)
    if speed.compiler is None:
        single_buffer.use(networks.transformer)
    else:
        compile_blocks(networks.transformer, speed.compiler)
        compile_decoder(networks.autoencoder, speed.compiler)
    if speed.graphs:
        _graph_all(networks, CudaGraphs() if networks.transformer.img_in.weight.is_cuda else RepeatedRuns())


def _graph_all(networks: Networks, backend: GraphBackend) -> None:
    graph_transformer(networks.transformer, backend)
    graph_encoder(networks.t5, backend)
    graph_encoder(networks.clip, backend)
    graph_decoder(networks.autoencoder, backend)


def as_written(networks: Networks) -> None:
    """The networks as they were before `accelerate`, except that what was quantized stays so."""
    attention_backend.use(attention, networks.transformer)
    for network in (networks.transformer, networks.t5, networks.clip, networks.autoencoder):
        _restore(network)


def _restore(network: nn.Module, names: Sequence[str] = REPLACED) -> None:
    for module in network.modules():
        for name in names:
            module.__dict__.pop(name, None)
