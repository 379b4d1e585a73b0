"""A linear layer whose weights stay packed: less memory for the time of unpacking them in every call.

B batch, I values in, O values out.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bildwerk.weights.packed import PackedTensor


class QuantizedLinear(nn.Module):
    """Takes the place of `nn.Linear`. The packed weight is no entry of `state_dict`, the bias is one as ever."""

    def __init__(self, weight: PackedTensor, *, has_bias: bool) -> None:
        super().__init__()
        self.encoding, self.shape = weight.encoding, weight.shape
        self.register_buffer("data", weight.data, persistent=False)
        self.register_buffer("scale", weight.scale, persistent=False)
        self.bias = nn.Parameter(torch.empty(weight.shape[0], device="meta"), requires_grad=False) if has_bias else None

    @property
    def packed(self) -> PackedTensor:
        data, scale = self.get_buffer("data"), self._buffers["scale"]
        return PackedTensor(self.encoding, self.shape, data, scale)

    def forward(self, x: Tensor) -> Tensor:
        """x: ... I -> ... O, computed in the dtype of x."""
        return F.linear(x, self.packed.unpack(x.dtype), self.bias)

    def extra_repr(self) -> str:
        outputs, inputs = self.shape
        return f"in_features={inputs}, out_features={outputs}, bias={self.bias is not None}"
