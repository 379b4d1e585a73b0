"""Eight-bit arithmetic for the matrices that see every token: float8 or int8 in, the model's own type out.

R rows (tokens), K inputs, O outputs.

Each weight row has a scale of its own, and each row of activations gets one when it comes (nothing to calibrate).
Modulation, embedders and the last layer stay as they are: they are small or sensitive, and see one row a picture.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import TypeVar

import torch
from torch import Tensor, nn

from bildwerk.engine.request import EngineError
from bildwerk.flux.layers import DoubleStreamBlock, Modulation, SingleStreamBlock
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


def find_precision(name: str) -> Precision:
    """Raises `EngineError` for one that is not known."""
    if name not in {*Precision}:
        raise EngineError(f"precision {name!r} is not one of {', '.join(Precision)}")
    return Precision(name)


def to_float8(x: Tensor) -> tuple[Tensor, Tensor]:
    """x: R K -> float8 values: R K, and the scales that they are to be multiplied with: R 1."""
    scales = (x.abs().amax(dim=-1, keepdim=True).float() / FLOAT8_MAX).clamp(min=SMALLEST_SCALE)
    return (x.float() / scales).clamp(-FLOAT8_MAX, FLOAT8_MAX).to(FLOAT8), scales


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
        product = self._integers(values).float() * scales * self.scales.t()
        return (product if self.bias is None else product + self.bias).to(rows.dtype)

    def _integers(self, values: Tensor) -> Tensor:
        """values: R K -> R O, int32, exact."""
        lacking = max(0, INT8_LEAST_ROWS - values.shape[0])
        padded = nn.functional.pad(values, (0, 0, 0, lacking)) if lacking else values
        return torch._int_mm(padded, self.weight.t())[: values.shape[0]]


QUANTIZED: dict[Precision, type[Float8Linear] | type[Int8Linear]] = {
    Precision.FP8: Float8Linear,
    Precision.INT8: Int8Linear,
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


def use(precision: Precision, model: nn.Module) -> None:
    """Replace the layers of `token_linears`, one by one, so that no second copy of the model is ever held."""
    if precision is Precision.BF16:
        return
    quantized = QUANTIZED[precision]
    for owner, name, linear in list(token_linears(model)):
        setattr(owner, name, quantized.of(linear))
