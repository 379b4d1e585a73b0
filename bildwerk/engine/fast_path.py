"""Everything that makes a model fast, applied to it from outside: its modules are called as before.

The networks are changed in place, but only by what hangs on an instance: other attention, other arithmetic, other
`forward`.  `as_written` takes all of it back, quantized weights excepted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from bildwerk.engine import attention_backend, decoder_attention, precision, single_buffer
from bildwerk.engine.attention_backend import matmul_attention
from bildwerk.engine.buckets import Bucket
from bildwerk.engine.cpu import path as cpu_path
from bildwerk.engine.cpu.features import CpuFeatures, cpu_features
from bildwerk.engine.gpu.compile import Compiler, compile_blocks, compile_decoder
from bildwerk.engine.gpu.graphs import graph_decoder, graph_encoder, graph_transformer
from bildwerk.engine.gpu.recorder import Recorder
from bildwerk.engine.networks import Networks
from bildwerk.engine.precision import Precision
from bildwerk.flux.attention import Attend, attention
from bildwerk.flux.params import AutoencoderParams, TransformerParams
from bildwerk.flux.sampling import PATCH

REPLACED = ("forward", "modulation", "decode")


@dataclass(frozen=True, slots=True)
class Speed:
    """What to apply. Without a compiler the single-stream blocks use one buffer instead; a recorder goes with either.

    With the features of a CPU, all is done as they allow, and compiler and graphs are not used.
    """

    precision: Precision = Precision.BF16
    compiler: Compiler | None = None
    recorder: Recorder | None = None
    attend: Attend = attention
    attend_in_decoder: Attend = attention
    cpu: CpuFeatures | None = None


def best_speed(networks: Networks, chosen: Precision, bucket: Bucket, text_tokens: int) -> Speed:
    """What is fastest on the device that the networks lie on, for requests like this one, without what takes minutes
    at the first call of each shape: compiler and recorder."""
    bias = networks.transformer.img_in.bias  # packed weights have a type of their own
    if bias.device.type == "cpu" and bias.dtype == torch.bfloat16:
        return Speed(chosen, attend=matmul_attention, attend_in_decoder=matmul_attention, cpu=cpu_features())
    return timed_speed(networks, bucket, text_tokens, chosen)


def timed_speed(networks: Networks, bucket: Bucket, text_tokens: int, chosen: Precision = Precision.BF16) -> Speed:
    """The attention that is fastest by the clock, at the shapes of this bucket, for networks where they are."""
    bias = networks.transformer.img_in.bias

    def fastest(shape: tuple[int, int, int, int]) -> Attend:
        return attention_backend.fastest(shape, bias.dtype, bias.device).candidate.attend

    return Speed(
        chosen,
        attend=fastest(joint_shape(networks.transformer.params, networks.autoencoder.params, bucket, text_tokens)),
        attend_in_decoder=fastest(decoder_shape(networks.autoencoder.params, bucket)),
    )


def joint_shape(
    params: TransformerParams, scale: AutoencoderParams, bucket: Bucket, text_tokens: int
) -> tuple[int, int, int, int]:
    """(B, H, L, D) of the transformer's attention."""
    patch = PATCH * scale.downscale
    tokens = text_tokens + (bucket.height // patch) * (bucket.width // patch)
    return bucket.batch, params.num_heads, tokens, params.head_dim


def decoder_shape(params: AutoencoderParams, bucket: Bucket) -> tuple[int, int, int, int]:
    """(B, 1, L, D) of the decoder's attention."""
    positions = (bucket.height // params.downscale) * (bucket.width // params.downscale)
    return bucket.batch, 1, positions, params.channels[-1]


def accelerate(networks: Networks, speed: Speed) -> None:
    """Compiling and recording happen at the first call of each shape: warm up, in the gradient mode of later calls."""
    if speed.cpu is not None:
        cpu_path.accelerate(networks, speed.precision, speed.cpu, speed.attend, speed.attend_in_decoder)
        return
    precision.use(speed.precision, networks.transformer)
    attention_backend.use(speed.attend, networks.transformer)
    if speed.attend_in_decoder is not attention:
        decoder_attention.use(speed.attend_in_decoder, networks.autoencoder)
    if speed.compiler is None:
        single_buffer.use(networks.transformer)
    else:
        compile_blocks(networks.transformer, speed.compiler)
        compile_decoder(networks.autoencoder, speed.compiler)
    if speed.recorder is not None:
        graph_transformer(networks.transformer, speed.recorder)
        graph_encoder(networks.t5, speed.recorder)
        graph_encoder(networks.clip, speed.recorder)
        graph_decoder(networks.autoencoder, speed.recorder)


def as_written(networks: Networks) -> None:
    """The networks as they were before `accelerate`, except that what was quantized stays so."""
    attention_backend.use(attention, networks.transformer)
    for network in (networks.transformer, networks.t5, networks.clip, networks.autoencoder):
        _restore(network)


def _restore(network: nn.Module, names: Sequence[str] = REPLACED) -> None:
    for module in network.modules():
        for name in names:
            module.__dict__.pop(name, None)
