"""Weights that stay in memory as few bits as their file has, and become floating point numbers when they are used.

n blocks, v values a block.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Encoding:
    """How values lie in blocks of bytes. `decode` turns uint8 n block_bytes into float32 n v."""

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
        return (values if self.scale is None else values * self.scale).to(dtype)

    def to(self, device: torch.device | str) -> Self:
        scale = None if self.scale is None else self.scale.to(device)
        return replace(self, data=self.data.to(device), scale=scale)


FP8_ENCODINGS = {
    "F8_E4M3": Encoding(1, 1, lambda blocks: blocks.view(torch.float8_e4m3fn).float()),
    "F8_E5M2": Encoding(1, 1, lambda blocks: blocks.view(torch.float8_e5m2).float()),
}
