"""Fewer bits for the matrices that see every token: float8 or int8 products, or weights of four bits, unpacked in use.

R rows (tokens), K inputs, O outputs.

In eight bits each weight row has a scale of its own, and each row of activations gets one when it comes (nothing to
calibrate). In four, blocks of 32 weights share one, and the product is one of the model's own type. Modulation,
embedders and the last layer stay as they are: they are small or sensitive, and see one row a picture.
The text encoder's matrices see few tokens, once a prompt, with outliers among them: only its weights are rounded.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import TypeVar

import torch
from torch import Tensor, nn

from bildwerk.engine.request import EngineError
from bildwerk.flux.layers import DoubleStreamBlock, Modulation, SingleStreamBlock
from bildwerk.flux.t5 import Block as T5Block
from bildwerk.weights.pack import FOUR_BITS, in_eight_bits, in_four_bits
from bildwerk.weights.quantized_linear import QuantizedLinear as PackedLinear
from bildwerk.weights.row_levels import nearest_levels, row_levels

L = TypeVar("L", bound=nn.Module)

FLOAT8 = torch.float8_e4m3fn
FLOAT8_MAX = torch.finfo(FLOAT8).max
SMALLEST_SCALE = 1e-12
INT8_LEAST_ROWS = 17
"""Fewer rows than this CUDA's integer product refuses; such a call is padded."""


class Precision(StrEnum):
    BF16 = "bf16"
    FP8 = "fp8"
    INT8 = "int8"
    INT4 = "int4"


def find_precision(name: str) -> Precision:
    """Raises `EngineError` for one that is not known."""
    if name not in {*Precision}:
        raise EngineError(f"precision {name!r} is not one of {', '.join(Precision)}")
    return Precision(name)


def to_float8(x: Tensor) -> tuple[Tensor, Tensor]:
    """x: R K -> float8 values: R K, and the scales that they are to be multiplied with: R 1."""
    scales = (x.abs().amax(dim=-1, keepdim=True).float() / FLOAT8_MAX).clamp(min=SMALLEST_SCALE)
    return torch.div(x, scales).clamp_(-FLOAT8_MAX, FLOAT8_MAX).to(FLOAT8), scales


def to_int8(x: Tensor) -> tuple[Tensor, Tensor]:
    """x: R K -> int8 values: R K, and the scales that they are to be multiplied with: R 1."""
    levels, scales = nearest_levels(x)
    return levels, scales[:, None]


class QuantizedLinear(nn.Module):
    """A linear layer with eight-bit weights. Called as the one that it was made from."""

    def __init__(self, weight: Tensor, scales: Tensor, bias: Tensor | None) -> None:
        """weight: O K, scales: O 1, bias: O."""
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.register_buffer("weight", weight)
        self.register_buffer("scales", scales)
        self.register_buffer("bias", bias)

    weight: Tensor
    scales: Tensor
    bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """x: ... K -> ... O."""
        return self.product(x.flatten(0, -2)).unflatten(0, x.shape[:-1])

    def product(self, rows: Tensor) -> Tensor:
        """rows: R K -> R O, in their type."""
        raise NotImplementedError


class Float8Linear(QuantizedLinear):
    @classmethod
    def of(cls, linear: nn.Linear) -> "Float8Linear":
        return cls(*to_float8(linear.weight), linear.bias)

    def product(self, rows: Tensor) -> Tensor:
        values, scales = to_float8(rows)
        if not values.is_cuda:
            return self._emulated(values, scales, rows.dtype)
        product = torch._scaled_mm(
            values,
            self.weight.t(),
            scale_a=scales,
            scale_b=self.scales.t(),
            bias=None if self.bias is None else self.bias.to(torch.bfloat16),
            out_dtype=torch.bfloat16,  # the only one that row-wise scales come with
            use_fast_accum=True,
        )
        return product.to(rows.dtype)

    def _emulated(self, values: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
        """The same values multiplied in float32, where the device has no float8 product."""
        product = values.float() @ self.weight.float().t() * scales * self.scales.t()
        return (product if self.bias is None else product + self.bias).to(dtype)


class Int8Linear(QuantizedLinear):
    @classmethod
    def of(cls, linear: nn.Linear) -> "Int8Linear":
        levels, scales = row_levels(linear.weight)
        return cls(levels, scales[:, None], linear.bias)

    def product(self, rows: Tensor) -> Tensor:
        values, scales = to_int8(rows)
        product = torch.mul(self._integers(values), scales).mul_(self.scales.t())
        return (product if self.bias is None else product.add_(self.bias)).to(rows.dtype)

    def _integers(self, values: Tensor) -> Tensor:
        """values: R K -> R O, int32, exact."""
        lacking = max(0, INT8_LEAST_ROWS - values.shape[0])
        padded = nn.functional.pad(values, (0, 0, 0, lacking)) if lacking else values
        return torch._int_mm(padded, self.weight.t())[: values.shape[0]]


def packed_in_four_bits(linear: nn.Linear) -> nn.Module:
    """As a layer of a Q4_0 file. One whose rows are not whole blocks of 32 values stays as it is."""
    if linear.in_features % FOUR_BITS.block_values:
        return linear
    return PackedLinear.of(in_four_bits(linear.weight), linear.bias)


def packed_in_eight_bits(linear: nn.Linear) -> nn.Module:
    """Weights alone: they are unpacked in use, and activations are not rounded."""
    return PackedLinear.of(in_eight_bits(linear.weight), linear.bias)


QUANTIZED: dict[Precision, Callable[[nn.Linear], nn.Module]] = {
    Precision.FP8: Float8Linear.of,
    Precision.INT8: Int8Linear.of,
    Precision.INT4: packed_in_four_bits,
}


def token_linears(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    """The layers that see every token, 73 % of the weights: each as (its owner, its name there, itself)."""
    return token_layers(model, nn.Linear)


def token_layers(model: nn.Module, kind: type[L]) -> Iterator[tuple[nn.Module, str, L]]:
    """Those of them that are of one kind."""
    for block in model.modules():
        if isinstance(block, DoubleStreamBlock | SingleStreamBlock):
            parts = [part for part in block.children() if not isinstance(part, Modulation)]
            for owner in [block, *(inner for part in parts for inner in part.modules())]:
                yield from ((owner, name, part) for name, part in owner.named_children() if isinstance(part, kind))


def text_linears(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    """The matrices of T5's blocks, 97 % of its weights: each as (its owner, its name there, itself)."""
    for block in model.modules():
        if isinstance(block, T5Block):
            for owner in block.modules():
                yield from ((owner, name, part) for name, part in owner.named_children() if isinstance(part, nn.Linear))


def use(precision: Precision, model: nn.Module, device: torch.device | None = None) -> None:
    """Replace the layers of `token_linears`, one by one, so that no second copy of the model is ever held.

    device: where that is computed, and where they lie afterwards.
    """
    if precision is not Precision.BF16:
        _replace(token_linears(model), QUANTIZED[precision], device)


def use_in_text_encoder(precision: Precision, model: nn.Module, device: torch.device | None = None) -> None:
    """Likewise those of `text_linears`; in eight bits where the precision is any but bf16."""
    if precision is not Precision.BF16:
        _replace(text_linears(model), packed_in_eight_bits, device)


def _replace(
    layers: Iterator[tuple[nn.Module, str, nn.Linear]],
    quantized: Callable[[nn.Linear], nn.Module],
    device: torch.device | None,
) -> None:
    for owner, name, linear in list(layers):
        setattr(owner, name, quantized(linear if device is None else linear.to(device)))
