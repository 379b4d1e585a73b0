"""The four networks as the engine calls them: as they are written, or with everything that makes them fast.

B batch, L image tokens, T text tokens, C latent channels, h w latent positions, H W pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from torch import Tensor

from bildwerk.engine import attention_backend, precision, single_buffer
from bildwerk.engine.compile import Compiler, compile_blocks, compile_decoder, undo
from bildwerk.engine.graphs import CudaGraphs, Graphed, GraphedTransformer, RepeatedRuns
from bildwerk.engine.precision import Precision
from bildwerk.flux.attention import Attend, attention
from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.clip import ClipTextEncoder
from bildwerk.flux.t5 import T5Encoder
from bildwerk.flux.transformer import Flux


@dataclass(frozen=True, slots=True)
class Networks:
    transformer: Flux
    t5: T5Encoder
    clip: ClipTextEncoder
    autoencoder: Autoencoder


@dataclass(frozen=True, slots=True)
class Speed:
    """What to apply. Without a compiler the single-stream blocks use one buffer instead; graphs go with either."""

    precision: Precision = Precision.BF16
    compiler: Compiler | None = None
    graphs: bool = False
    attend: Attend = attention


@dataclass(frozen=True, slots=True)
class Running:
    """The networks, ready to be called.

    `transformer` is called as a `Flux`; `encode_t5` takes ids B T, `encode_clip` likewise, `decode` latents B C h w.
    """

    transformer: Flux
    encode_t5: Callable[[Tensor], Tensor]
    encode_clip: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]


def as_written(networks: Networks) -> Running:
    return Running(networks.transformer, networks.t5, networks.clip, networks.autoencoder.decode)


def best_speed(networks: Networks, precision: Precision, batch: int, tokens: int) -> Speed:
    """What is fastest on the device that the networks lie on. tokens: text and image, of the usual request."""
    weight = networks.transformer.img_in.weight
    on_gpu = weight.is_cuda
    choice = attention_backend.fastest(networks.transformer.params, batch, tokens, weight.dtype, weight.device)
    return Speed(precision, Compiler() if on_gpu else None, graphs=on_gpu, attend=choice.candidate.attend)


def accelerated(networks: Networks, speed: Speed) -> Running:
    """The networks are changed in place; compiling itself happens at the first call of each shape."""
    precision.use(speed.precision, networks.transformer)
    attention_backend.use(speed.attend, networks.transformer)
    if speed.compiler is None:
        single_buffer.use(networks.transformer)
    else:
        compile_blocks(networks.transformer, speed.compiler)
        compile_decoder(networks.autoencoder, speed.compiler)
    return _graphed(networks) if speed.graphs else as_written(networks)


def _graphed(networks: Networks) -> Running:
    on_gpu = networks.transformer.img_in.weight.is_cuda
    backend = CudaGraphs() if on_gpu else RepeatedRuns()
    return Running(
        cast(Flux, GraphedTransformer(networks.transformer, backend)),
        Graphed(networks.t5, backend),
        Graphed(networks.clip, backend),
        Graphed(networks.autoencoder.decode, backend),
    )


def forget(networks: Networks) -> None:
    """Back to the forward passes as written. What was quantized stays so."""
    undo(networks.transformer)
    undo(networks.autoencoder)
    attention_backend.use(attention, networks.transformer)
