"""A linear layer whose weights stay packed: less memory for the time of unpacking them in every call.

B batch, I values in, O values out.
"""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bildwerk.weights.packed import PackedTensor

UNPACKED_VALUES = 2**22
"""At once on a CPU, so that no copy of a whole layer is made: some 40 MB. Elsewhere a layer is unpacked whole, since
each part would be several kernels to launch."""


class QuantizedLinear(nn.Module):
    """Takes the place of `nn.Linear`. The packed weight is no entry of `state_dict`, the bias is one as ever."""

    def __init__(self, weight: PackedTensor, *, has_bias: bool) -> None:
        super().__init__()
        self.encoding, self.shape = weight.encoding, weight.shape
        self.out_features, self.in_features = weight.shape
        self.register_buffer("data", weight.data, persistent=False)
        self.register_buffer("scale", weight.scale, persistent=False)
        self.bias = nn.Parameter(torch.empty(weight.shape[0], device="meta"), requires_grad=False) if has_bias else None

    @classmethod
    def of(cls, weight: PackedTensor, bias: nn.Parameter | None) -> Self:
        """With a bias that lies where the weight does."""
        layer = cls(weight, has_bias=False)
        layer.bias = bias
        return layer

    @property
    def packed(self) -> PackedTensor:
        data, scale = self.get_buffer("data"), self._buffers["scale"]
        return PackedTensor(self.encoding, self.shape, data, scale)

    def forward(self, x: Tensor) -> Tensor:
        """x: ... I -> ... O, computed in the dtype of x."""
        packed = self.packed
        rows = max(1, UNPACKED_VALUES // self.in_features)
        if packed.data.device.type != "cpu" or rows >= self.out_features:
            return F.linear(x, packed.unpack(x.dtype), self.bias)
        out = x.new_empty(*x.shape[:-1], self.out_features)
        for begin in range(0, self.out_features, rows):
            end = min(begin + rows, self.out_features)
            bias = None if self.bias is None else self.bias[begin:end]
            out[..., begin:end] = F.linear(x, packed.rows(begin, end).unpack(x.dtype), bias)
        return out

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
