"""Weights that stay in memory as few bits as their file has, and become floating point numbers when they are used.

n blocks, v values a block.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Encoding:
    """How values lie in blocks of bytes. `decode` turns uint8 n block_bytes into float32 n v, a tensor of its own."""

    block_values: int
    block_bytes: int
    decode: Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class PackedTensor:
    """data: uint8, all blocks of the tensor, row after row; scale: float32, one for all or one a row, or none."""

    encoding: Encoding
    shape: tuple[int, ...]
    data: Tensor
    scale: Tensor | None = None

    def unpack(self, dtype: torch.dtype) -> Tensor:
        """The values, of `shape`. Blocks are decoded in float32 and rounded once, at the end."""
        values = self.encoding.decode(self.data.reshape(-1, self.encoding.block_bytes)).reshape(self.shape)
        return (values if self.scale is None else values.mul_(self.scale)).to(dtype)

    def rows(self, begin: int, end: int) -> Self:
        """Some of the rows, of which each must be whole blocks; a view."""
        row_blocks, rest = divmod(self.row_values, self.encoding.block_values)
        if rest:
            raise ValueError(f"a row of {self.row_values} values is not whole blocks of {self.encoding.block_values}")
        bytes_a_row = row_blocks * self.encoding.block_bytes
        data = self.data.reshape(-1)[begin * bytes_a_row : end * bytes_a_row]
        scale = self.scale if self.scale is None or self.scale.numel() == 1 else self.scale[begin:end]
        return replace(self, shape=(min(end, self.shape[0]) - begin, *self.shape[1:]), data=data, scale=scale)

    @property
    def row_values(self) -> int:
        return math.prod(self.shape[1:])

    def to(self, device: torch.device | str) -> Self:
        scale = None if self.scale is None else self.scale.to(device)
        return replace(self, data=self.data.to(device), scale=scale)


FP8_ENCODINGS = {
    "F8_E4M3": Encoding(1, 1, lambda blocks: blocks.view(torch.float8_e4m3fn).float()),
    "F8_E5M2": Encoding(1, 1, lambda blocks: blocks.view(torch.float8_e5m2).float()),
}
INT8 = Encoding(1, 1, lambda blocks: blocks.view(torch.int8).float())
"""Signed; never without a scale."""
SCALED_ENCODINGS = FP8_ENCODINGS | {"I8": INT8}
"""One byte a value: those that files keep a scale beside."""
