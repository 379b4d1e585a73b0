"""Weights as whole numbers from -127 to 127, and for each row the scale that they are to be multiplied with.

R rows, K inputs.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from bildwerk.weights.packed import INT8, PackedTensor

LARGEST = 127.0
SMALLEST_SCALE = 1e-30
AT_ONCE = 2**22
"""Values that are widened to float32 at a time, so that no such copy of a whole layer is made."""


class RowLevels(NamedTuple):
    """levels: R K, int8; scales: R, float32."""

    levels: Tensor
    scales: Tensor


def row_levels(weight: Tensor | PackedTensor) -> RowLevels:
    """weight: R K. What is int8 already keeps its very levels, where they lie; a row of zeros has the scale 0.

    A row that holds NaN or infinity has a scale that is no finite number.
    """
    if isinstance(weight, PackedTensor) and weight.encoding is INT8 and weight.scale is not None:
        levels = weight.data.view(torch.int8).reshape(weight.shape)
        return RowLevels(levels, weight.scale.float().reshape(-1).expand(weight.shape[0]).contiguous())
    rows, inputs = weight.shape
    device = weight.data.device
    found = RowLevels(torch.empty(rows, inputs, dtype=torch.int8, device=device), torch.empty(rows, device=device))
    step = max(1, AT_ONCE // inputs)
    for begin in range(0, rows, step):
        end = min(begin + step, rows)
        part = weight.rows(begin, end).unpack(torch.float32) if isinstance(weight, PackedTensor) else weight[begin:end]
        found.levels[begin:end], found.scales[begin:end] = nearest_levels(part)
    return found


def nearest_levels(x: Tensor) -> RowLevels:
    """x: R K, of any floating point type; all of it is widened to float32 at once."""
    scales = x.abs().amax(dim=1).float() / LARGEST
    levels = torch.div(x, scales.clamp(min=SMALLEST_SCALE)[:, None]).round_()
    return RowLevels(levels.to(torch.int8), scales)
