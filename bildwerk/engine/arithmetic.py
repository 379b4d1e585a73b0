"""What a model computes in: the type of its tensors, and how the layers that see every token multiply."""

import logging
from dataclasses import dataclass, field, replace

import torch

from bildwerk.engine.buckets import Bucket
from bildwerk.engine.cpu.features import cpu_features
from bildwerk.engine.cpu.threads import use_fitting_threads
from bildwerk.engine.devices import find_dtype
from bildwerk.engine.fast_path import accelerate, best_speed
from bildwerk.engine.precision import Precision, find_precision, token_layers, token_linears
from bildwerk.engine.request import EngineError, EngineSpec
from bildwerk.flux.transformer import Flux
from bildwerk.weights.load import Components
from bildwerk.weights.packed import INT8
from bildwerk.weights.quantized_linear import QuantizedLinear

log = logging.getLogger("bildwerk.engine")


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Without a precision the networks run as they are written. One that nobody asked for may give way to a
    narrower one where the memory is small."""

    dtype: torch.dtype
    precision: Precision | None
    is_asked: bool = field(default=False, compare=False)


def find_arithmetic(spec: EngineSpec, dtype: str | None, precision: str | None) -> Arithmetic:
    """What is asked for, or what the spec says. Raises `EngineError` for names that are none or do not go together."""
    asked = spec.precision if precision is None else precision
    if asked is None:
        chosen = find_dtype(spec.dtype if dtype is None else dtype)
        return Arithmetic(chosen, Precision.BF16 if chosen == torch.bfloat16 else None)
    chosen_precision = find_precision(asked)
    if dtype is not None and find_dtype(dtype) != torch.bfloat16:
        raise EngineError(f"precision {asked} goes with dtype bfloat16, not with {dtype}: leave one of them out")
    return Arithmetic(torch.bfloat16, chosen_precision, is_asked=True)


def as_file_says(chosen: Arithmetic, transformer: Flux, device: torch.device) -> Arithmetic:
    """int8 where nobody asked for anything else, all large layers are int8 in the file, and this processor multiplies
    such numbers: in bf16 each of them would be unpacked again in every step."""
    is_open = chosen.precision is Precision.BF16 and not chosen.is_asked and device.type == "cpu"
    if not is_open or not holds_int8(transformer) or not cpu_features().multiplies_int8:
        return chosen
    log.warning("the transformer's file is in eight bits, so precision int8 is taken; bf16 would unpack it every step")
    return replace(chosen, precision=Precision.INT8)


def holds_int8(transformer: Flux) -> bool:
    """Whether all layers that see every token are int8 in their file."""
    packed = [layer for _, _, layer in token_layers(transformer, QuantizedLinear)]
    as_numbers = any(True for _ in token_linears(transformer))
    return bool(packed) and not as_numbers and all(layer.encoding is INT8 for layer in packed)


def make_fast(components: Components, spec: EngineSpec, precision: Precision, device: torch.device) -> None:
    """On devices without plans for their memory."""
    if device.type == "cpu":
        use_fitting_threads()
    bucket = Bucket(1, spec.default_height, spec.default_width)
    accelerate(components, best_speed(components, precision, bucket, spec.max_text_tokens))
