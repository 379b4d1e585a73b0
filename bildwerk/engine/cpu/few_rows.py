"""Layers whose int8 weights stay where they lie, such as the modulation's: read once for a few rows, never unpacked."""

from types import MethodType

import torch
from torch import Tensor, nn

from bildwerk.engine.cpu.kernels import MAX_ROW_WIDTH, Kernels
from bildwerk.weights.packed import INT8
from bildwerk.weights.quantized_linear import QuantizedLinear
from bildwerk.weights.row_levels import row_levels

FEW = 64
"""With more rows unpacking costs less than multiplying without the processor's own matrix product."""


def use(model: nn.Module, kernels: Kernels) -> None:
    """The int8 layers of `model` that unpack themselves multiply few rows as they lie from now on."""
    for layer in model.modules():
        if isinstance(layer, QuantizedLinear) and layer.encoding is INT8 and layer.in_features <= MAX_ROW_WIDTH:
            layer.forward = MethodType(FewRows(kernels).forward, layer)  # type: ignore[method-assign]


class FewRows:
    def __init__(self, kernels: Kernels) -> None:
        self.kernels = kernels

    def forward(self, layer: QuantizedLinear, x: Tensor) -> Tensor:
        """As `QuantizedLinear.forward`, summed in float32."""
        rows = x.reshape(-1, layer.in_features)
        if len(rows) > FEW:
            return QuantizedLinear.forward(layer, x)
        bias = None if layer.bias is None else layer.bias.float()
        product = self.kernels.multiply_few(rows.to(torch.float32).contiguous(), *row_levels(layer.packed), bias)
        return product.to(x.dtype).unflatten(0, x.shape[:-1])
