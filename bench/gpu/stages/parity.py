"""Whether speed has cost accuracy: the velocity of each way to run, against float32 on the same weights."""

from dataclasses import replace
from types import MethodType

import torch
from torch import Tensor, nn

from bench.gpu.model import reader
from bench.gpu.networks import Networks, twin
from bench.gpu.painter import Order, velocity
from bench.gpu.record import Number, Numbers
from bench.gpu.workbench import Workbench
from bildwerk.engine.engine import FluxEngine
from bildwerk.engine.fast_path import Speed, accelerate
from bildwerk.engine.precision import Precision, to_float8, token_linears
from bildwerk.engine.prompt_encoder import EncodedPrompts
from bildwerk.flux.layers import DoubleStreamBlock, SingleStreamBlock
from bildwerk.flux.transformer import Flux
from bildwerk.weights.load import Components

LIMITS = {"bf16": 0.02, "fp8": 0.07}
OVER_PLAIN_LIMIT = 1.15
GUTTED_LIMIT = 0.5


@torch.inference_mode()
def run(bench: Workbench) -> Numbers:
    order, engine = bench.order(bench.bucket(part=0.5), seed=7), bench.eager.engine
    txt, pooled = bench.original.t5(order.t5_ids), bench.original.clip(order.clip_ids)
    prompts = EncodedPrompts(txt.float(), pooled.float(), (False,) * len(txt))
    exact = velocity(_read(bench, _in_float32(bench)), order, engine, prompts)
    return _judged(bench, _errors(bench, order, EncodedPrompts(txt, pooled, prompts.truncated), exact), exact)


def _read(bench: Workbench, networks: Networks) -> Components:
    return replace(reader(bench.original, bench.shapes)(), transformer=networks.transformer)


def _errors(bench: Workbench, order: Order, prompts: EncodedPrompts, exact: Tensor) -> Numbers:
    half = bench.bucket(part=0.5)

    def error(components: Components) -> Number:
        return relative_error(velocity(components, order, bench.eager.engine, prompts), exact)

    def fast(precision: Precision = Precision.BF16) -> FluxEngine:
        return bench.fast(precision, half).engine

    return {
        "eager": error(bench.eager.engine.components),
        "fast": error(fast().components),
        "fast, replayed": error(fast().components),
        "fp8": error(fast(Precision.FP8).components),
        "fp8, plain rounding": error(_read(bench, _rounded(bench.original))),
        "blocks that do nothing": error(_read(bench, _gutted(bench.original))),
        "magnitude of the velocity": exact.square().mean().sqrt().item(),
    }


def _judged(bench: Workbench, errors: Numbers, exact: Tensor) -> Numbers:
    def value(name: str) -> float:
        found = errors[name]
        assert isinstance(found, float)
        return found

    verdicts: Numbers = {
        "bf16 within its limit": max(value("eager"), value("fast"), value("fast, replayed")) <= LIMITS["bf16"],
        "fp8 within its limit": value("fp8") <= LIMITS["fp8"],
        "fp8 no worse than plain rounding": value("fp8") <= OVER_PLAIN_LIMIT * value("fp8, plain rounding"),
        "would notice blocks that do nothing": value("blocks that do nothing") >= GUTTED_LIMIT,
        "all finite": bool(exact.isfinite().all().item()),
    }
    return {"relative errors": errors, "verdicts": verdicts, "tokens": bench.tokens(bench.bucket(part=0.5))}


def relative_error(actual: Tensor, expected: Tensor) -> float:
    return float((actual.double() - expected.double()).norm() / expected.double().norm())


def _in_float32(bench: Workbench) -> Networks:
    """The transformer in float32; the others as they are."""
    copy = twin(bench.original)
    copy.transformer.float()
    return copy


class _Rounded(nn.Module):
    """A linear layer of which weights and activations are rounded row by row, multiplied in their own type."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        rows = _as_float8(x.flatten(0, -2)).unflatten(0, x.shape[:-1])
        return nn.functional.linear(rows, _as_float8(self.linear.weight), self.linear.bias)


def _as_float8(x: Tensor) -> Tensor:
    values, scales = to_float8(x)
    return (values.float() * scales).to(x.dtype)


def _rounded(networks: Networks) -> Networks:
    copy = twin(networks)
    for owner, name, linear in list(token_linears(copy.transformer)):
        setattr(owner, name, _Rounded(linear))
    return copy


def _gutted(networks: Networks) -> Networks:
    """As if all attention and MLP weights were zero: every block hands on what it was given."""
    copy = twin(networks)
    accelerate(copy, Speed())
    hand_on(copy.transformer)
    return copy


def hand_on(model: Flux) -> None:
    """Every block gives back what it was given."""
    for block in model.modules():
        if isinstance(block, DoubleStreamBlock):
            block.forward = MethodType(lambda _, img, txt, *__: (img, txt), block)  # type: ignore[method-assign]
        elif isinstance(block, SingleStreamBlock):
            block.forward = MethodType(lambda _, x, *__: x, block)  # type: ignore[method-assign]
