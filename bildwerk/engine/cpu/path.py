"""All that makes the networks fast on a CPU, applied from outside.

What the processor lacks is made up for: bfloat16 is multiplied in float32 then, and without the kernels the blocks run
as they are written. int8 has no such detour: it raises.
"""

import torch
from torch import nn

from bildwerk.engine import attention_backend, decoder_attention, single_buffer
from bildwerk.engine.cpu import blocks, decoder, few_rows, mapped_pages
from bildwerk.engine.cpu.allocation import keep_freed_memory
from bildwerk.engine.cpu.features import CpuFeatures
from bildwerk.engine.cpu.linears import Bfloat16Linear, Int8Linear, PackedLinear, WidenedLinear
from bildwerk.engine.networks import Networks
from bildwerk.engine.precision import Precision, token_layers, token_linears
from bildwerk.engine.request import EngineError
from bildwerk.flux.attention import Attend
from bildwerk.flux.transformer import Flux
from bildwerk.weights.packed import INT8
from bildwerk.weights.quantized_linear import QuantizedLinear

LACKS = {
    Precision.INT8: "products of 8-bit integers (AVX512_VNNI or AMX)",
    Precision.FP8: "products of float8",
    Precision.INT4: "use for weights of four bits but from a GGUF file",
}


def packed_layer(precision: Precision, features: CpuFeatures) -> type[PackedLinear]:
    """The form of the layers that see every token. Raises `EngineError` for a precision that this processor lacks."""
    if precision is Precision.INT8 and features.multiplies_int8:
        return Int8Linear
    if precision is Precision.BF16:
        return Bfloat16Linear if features.multiplies_bfloat16 else WidenedLinear
    raise EngineError(f"precision {precision} cannot be had on this CPU, which has no {LACKS[precision]}; bf16 can")


def accelerate(
    networks: Networks, precision: Precision, features: CpuFeatures, attend: Attend, attend_in_decoder: Attend
) -> None:
    """Networks in bfloat16. `attend` is for blocks that the kernels do not know.

    Raises `EngineError` for a precision that this processor lacks, and `ValueError` for networks in another type.
    """
    found = networks.transformer.img_in.bias.dtype
    if found != torch.bfloat16:
        raise ValueError(f"the fast path of a CPU is for networks in bfloat16, not in {found}")
    autoencoder, kernels = networks.autoencoder, features.kernels
    accelerate_transformer(networks.transformer, precision, features, attend)
    if features.multiplies_bfloat16:
        _pack_all(networks.t5)
    if kernels is not None and decoder.suits(autoencoder.params):
        decoder.use(attend_in_decoder, autoencoder, kernels)
    else:
        decoder_attention.use(attend_in_decoder, autoencoder)


def accelerate_transformer(transformer: Flux, precision: Precision, features: CpuFeatures, attend: Attend) -> None:
    """The part of `accelerate` that concerns it. Weights that are int8 in their file stay the very same numbers."""
    packed, kernels = packed_layer(precision, features), features.kernels
    keep_freed_memory()
    for owner, name, linear in list(token_linears(transformer)):
        setattr(owner, name, packed(linear))  # one by one: no second copy of the model is ever held
    if packed is Int8Linear:
        _pack_int8_as_it_is(transformer)
    attention_backend.use(attend, transformer)
    single_buffer.use(transformer)
    if kernels is not None:
        few_rows.use(transformer, kernels)
    if kernels is not None and packed in blocks.ARITHMETICS and blocks.suits(transformer.params):
        blocks.use(packed, transformer, kernels)


def _pack_int8_as_it_is(transformer: Flux) -> None:
    """The file's pages are let go as soon as a layer was packed, so that its weights are never in memory twice."""
    for owner, name, linear in list(token_layers(transformer, QuantizedLinear)):
        if linear.encoding is INT8:
            setattr(owner, name, Int8Linear(linear))
            mapped_pages.release(linear.packed.data)


def _pack_all(network: nn.Module) -> None:
    for owner in network.modules():
        for name, layer in list(owner.named_children()):
            if isinstance(layer, nn.Linear):
                setattr(owner, name, Bfloat16Linear(layer))
