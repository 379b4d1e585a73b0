"""Layers that see few rows, such as the modulation's: each weight is read once, from where it lies, and never packed
or unpacked."""

from types import MethodType

import torch
from torch import Tensor, nn

from bildwerk.engine.cpu.kernels import FEW_INPUTS_MULTIPLE, MAX_ROW_WIDTH, Kernels
from bildwerk.weights.packed import INT8
from bildwerk.weights.quantized_linear import QuantizedLinear
from bildwerk.weights.row_levels import row_levels

FEW = 64
"""With more rows unpacking costs less than multiplying without the processor's own matrix product."""
FEW_BF16 = 16
"""With more, oneDNN's product is faster, though it puts the weights into another order in each call."""


def use(model: nn.Module, kernels: Kernels) -> None:
    """The layers of `model` that are not packed multiply few rows as they lie from now on: those of bfloat16, and the
    int8 layers that unpack themselves."""
    few = FewRows(kernels)
    for layer in model.modules():
        if isinstance(layer, QuantizedLinear) and layer.encoding is INT8 and layer.in_features <= MAX_ROW_WIDTH:
            layer.forward = MethodType(few.forward_int8, layer)  # type: ignore[method-assign]
        elif isinstance(layer, nn.Linear) and _suits(layer):
            layer.forward = MethodType(few.forward_bfloat16, layer)  # type: ignore[method-assign]


def _suits(layer: nn.Linear) -> bool:
    return layer.weight.dtype == torch.bfloat16 and layer.in_features % FEW_INPUTS_MULTIPLE == 0


class FewRows:
    def __init__(self, kernels: Kernels) -> None:
        self.kernels = kernels

    def forward_int8(self, layer: QuantizedLinear, x: Tensor) -> Tensor:
        """As `QuantizedLinear.forward`, summed in float32."""
        rows = x.reshape(-1, layer.in_features)
        if len(rows) > FEW:
            return QuantizedLinear.forward(layer, x)
        bias = None if layer.bias is None else layer.bias.float()
        product = self.kernels.multiply_few(rows.to(torch.float32).contiguous(), *row_levels(layer.packed), bias)
        return product.to(x.dtype).unflatten(0, x.shape[:-1])

    def forward_bfloat16(self, layer: nn.Linear, x: Tensor) -> Tensor:
        """As `nn.Linear.forward`."""
        rows = x.reshape(-1, layer.in_features)
        if len(rows) > FEW_BF16 or x.dtype != torch.bfloat16:
            return nn.Linear.forward(layer, x)
        product = self.kernels.multiply_few_bf16(rows.contiguous(), layer.weight, layer.bias)
        return product.unflatten(0, x.shape[:-1])
