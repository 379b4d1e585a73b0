"""Weights as floating point numbers become packed ones, when they are loaded: for memory that does not hold them else.

R rows, K inputs.
"""

import torch
from torch import Tensor

from bildwerk.weights.gguf_blocks import GGUF_ENCODINGS
from bildwerk.weights.packed import INT8, PackedTensor
from bildwerk.weights.row_levels import AT_ONCE, row_levels

FOUR_BITS = GGUF_ENCODINGS["Q4_0"]


def in_eight_bits(weight: Tensor) -> PackedTensor:
    """weight: R K, where it lies. One byte a value, and a scale a row."""
    levels, scales = row_levels(weight)
    return PackedTensor(INT8, tuple(weight.shape), levels.view(torch.uint8), scales[:, None])


def in_four_bits(weight: Tensor) -> PackedTensor:
    """weight: R K, K a multiple of 32 -> Q4_0: each 32 values in a row share a scale, 4.5 bits a value in all.

    A part of it is widened to float32 at a time. Raises `ValueError` for rows that are not whole blocks.
    """
    rows, inputs = weight.shape
    if inputs % FOUR_BITS.block_values:
        raise ValueError(f"a row of {inputs} values is not whole blocks of {FOUR_BITS.block_values}")
    blocks_a_row = inputs // FOUR_BITS.block_values
    data = torch.empty(rows * blocks_a_row, FOUR_BITS.block_bytes, dtype=torch.uint8, device=weight.device)
    step = max(1, AT_ONCE // inputs)
    for begin in range(0, rows, step):
        part = weight[begin : begin + step].float().reshape(-1, FOUR_BITS.block_values)
        first = begin * blocks_a_row
        data[first : first + len(part)] = _blocks(part)
    return PackedTensor(FOUR_BITS, (rows, inputs), data)


def _blocks(values: Tensor) -> Tensor:
    """values: n 32, float32 -> n 18: a half, then 32 nibbles. The largest value of a block is its level -8, exactly."""
    largest = values.gather(1, values.abs().argmax(dim=1, keepdim=True))
    scale = largest / -8
    inverse = torch.where(scale == 0, 0, 1 / scale)
    levels = (values * inverse + 8.5).clamp_(0, 15).to(torch.uint8)
    low, high = levels.chunk(2, dim=1)
    return torch.cat([scale.to(torch.float16).view(torch.uint8), low | (high << 4)], dim=1)
