"""Linear layers whose weights lie in the order that the CPU's matrix products read them in.

R rows, K inputs, O outputs.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bildwerk.engine.cpu.kernels import Int8Rows, Product
from bildwerk.engine.precision import to_int8
from bildwerk.weights.quantized_linear import QuantizedLinear
from bildwerk.weights.row_levels import row_levels

USUAL_ROWS = 256
"""Rows that the order is chosen for; others are nearly as fast."""
UNSIGNED_ZERO = 128
"""Activations are unsigned with this for zero: with signed ones, oneDNN falls back to its slow reference product."""


class PackedLinear(nn.Module):
    """Called as the layer that it was made from. The weight is no entry of `state_dict` any more."""

    def __init__(self, linear: nn.Linear | QuantizedLinear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"


class Bfloat16Linear(PackedLinear):
    def __init__(self, linear: nn.Linear) -> None:
        """The layer's weight: O K, bfloat16."""
        super().__init__(linear)
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().contiguous(), USUAL_ROWS)
        self._bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """x: ... K -> ... O, bfloat16."""
        return torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")

    def product(self, rows: Tensor) -> Product:
        """rows: R K -> R O, for a kernel that goes on with it."""
        return Product(self.forward(rows))


class WidenedLinear(PackedLinear):
    """Held in bfloat16, multiplied in float32: for processors where emulating products of bfloat16 is slower."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear)
        self._weight, self._bias = linear.weight.detach(), linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """x: ... K -> ... O, in its type."""
        bias = None if self._bias is None else self._bias.float()
        return F.linear(x.float(), self._weight.float(), bias).to(x.dtype)


class Int8Linear(PackedLinear):
    """A scale for each weight row, and one for each row of activations when it comes."""

    def __init__(self, linear: nn.Linear | QuantizedLinear) -> None:
        """The layer's weight: O K. Where it is int8 already, its very levels are packed."""
        super().__init__(linear)
        weight = linear.packed if isinstance(linear, QuantizedLinear) else linear.weight.detach()
        levels, self._scales = row_levels(weight)
        self._weight = torch.ops.onednn.qlinear_prepack(levels, [USUAL_ROWS, linear.in_features])
        self._zero_points = torch.zeros(linear.out_features, dtype=torch.int64)
        self._bias = torch.zeros(linear.out_features) if linear.bias is None else linear.bias.detach().float()

    def forward(self, x: Tensor) -> Tensor:
        """x: ... K -> ... O, in its type."""
        product = self.product(_quantized(x.reshape(-1, x.shape[-1])), torch.float32)
        assert product.row_scales is not None
        rows = product.rows * product.row_scales[:, None] + self._bias
        return rows.to(x.dtype).unflatten(0, x.shape[:-1])

    def product(self, rows: Int8Rows, dtype: torch.dtype = torch.bfloat16) -> Product:
        """rows: R K -> R O of that type, for a kernel that goes on with it."""
        product = torch.ops.onednn.qlinear_pointwise(
            rows.values, 1.0, UNSIGNED_ZERO, self._weight, self._scales, self._zero_points, None, 1.0, 0,
            dtype, "none", [], "",
        )  # fmt: skip
        return Product(product, rows.scales, self._bias)


def _quantized(x: Tensor) -> Int8Rows:
    """x: R K."""
    levels, scales = to_int8(x)
    return Int8Rows((levels.to(torch.int16) + UNSIGNED_ZERO).to(torch.uint8), scales.squeeze(1))
