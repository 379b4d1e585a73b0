"""How rows of tokens come to a packed layer: as bfloat16, or as eight-bit integers.

R rows (tokens), C hidden size, M MLP hidden size, K inputs.
"""

from typing import Protocol

import torch
from torch import Tensor

from bildwerk.engine.cpu.kernels import Heads, Int8Rows, Kernels, Product

Rows = Tensor | Int8Rows


class Arithmetic(Protocol):
    kernels: Kernels

    def rows(self, x: Tensor) -> Rows:
        """x: R K -> the same."""
        ...

    def modulated(self, x: Tensor, shift: Tensor, scale: Tensor) -> Rows:
        """x: R C, shift, scale: C -> R C."""
        ...

    def activated(self, hidden: Product) -> Rows:
        """hidden: R M -> GELU of it."""
        ...

    def joined(self, heads: Heads, hidden: Product) -> Rows:
        """hidden: R M -> attention beside GELU of hidden: R (C + M)."""
        ...


class Bfloat16Arithmetic:
    def __init__(self, kernels: Kernels) -> None:
        self.kernels = kernels

    def rows(self, x: Tensor) -> Tensor:
        return x

    def modulated(self, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        return self.kernels.modulate(x, shift, scale)

    def activated(self, hidden: Product) -> Tensor:
        out = torch.empty_like(hidden.rows)
        self.kernels.gelu_into(out, hidden)
        return out

    def joined(self, heads: Heads, hidden: Product) -> Tensor:
        rows, width = hidden.rows.shape
        out = torch.empty(rows, heads.width + width, dtype=torch.bfloat16)
        self.kernels.attend_into(out[:, : heads.width], heads)
        self.kernels.gelu_into(out[:, heads.width :], hidden)
        return out


class Int8Arithmetic:
    def __init__(self, kernels: Kernels) -> None:
        self.kernels = kernels

    def rows(self, x: Tensor) -> Int8Rows:
        return self.kernels.to_int8(x)

    def modulated(self, x: Tensor, shift: Tensor, scale: Tensor) -> Int8Rows:
        return self.kernels.modulate_to_int8(x, shift, scale)

    def activated(self, hidden: Product) -> Int8Rows:
        return self.kernels.gelu_to_int8(hidden)

    def joined(self, heads: Heads, hidden: Product) -> Int8Rows:
        return self.kernels.gelu_to_int8(hidden, left=attended(heads, self.kernels))


def attended(heads: Heads, kernels: Kernels) -> Tensor:
    """L C."""
    out = torch.empty(heads.tokens, heads.width, dtype=torch.bfloat16)
    kernels.attend_into(out, heads)
    return out
