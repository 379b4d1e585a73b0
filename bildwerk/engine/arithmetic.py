"""What a model computes in: the type of its tensors, and how the layers that see every token multiply."""

from dataclasses import dataclass, field

import torch

from bildwerk.engine.buckets import Bucket
from bildwerk.engine.cpu.threads import use_fitting_threads
from bildwerk.engine.devices import find_dtype
from bildwerk.engine.fast_path import accelerate, best_speed
from bildwerk.engine.precision import Precision, find_precision
from bildwerk.engine.request import EngineError, EngineSpec
from bildwerk.weights.load import Components


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


def make_fast(components: Components, spec: EngineSpec, precision: Precision, device: torch.device) -> None:
    """On devices without plans for their memory."""
    if device.type == "cpu":
        use_fitting_threads()
    bucket = Bucket(1, spec.default_height, spec.default_width)
    accelerate(components, best_speed(components, precision, bucket, spec.max_text_tokens))
