"""The passes between the matrix products of a FLUX block, as functions of tensors. What each does is in `kernels.c`.

R rows (tokens), C hidden size, M MLP hidden size, H heads, D head dim, L tokens of all streams.
All tensors are bfloat16 on the CPU unless they say otherwise.
"""

import ctypes
import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from bildwerk.engine.cpu.build import KernelsUnavailableError, library

QUERY_ROWS, KEY_ROWS = 96, 64
"""What the rows of queries and of keys and values are padded to a multiple of."""
HEAD_DIM_MULTIPLE, MAX_HEAD_DIM = 64, 128
MAX_ROW_WIDTH = 32768
MAX_CHANNELS = 1024


@dataclass(frozen=True, slots=True)
class Int8Rows:
    """values: R K, uint8 with 128 for zero; scales: R, float32. A row is (values - 128) * scale."""

    values: Tensor
    scales: Tensor


@dataclass(frozen=True, slots=True)
class Product:
    """What a linear layer gives: R O. With row scales (R, float32) the rows are still to be multiplied with them, and
    bias (O, float32) to be added."""

    rows: Tensor
    row_scales: Tensor | None = None
    bias: Tensor | None = None

    def columns(self, begin: int, end: int) -> "Product":
        """Some of the columns; a view."""
        bias = None if self.bias is None else self.bias[begin:end]
        return Product(self.rows[:, begin:end], self.row_scales, bias)


class Heads:
    """Room for the queries, keys and values of one joint attention, in the order that `attend` reads."""

    def __init__(self, heads: int, tokens: int, dim: int) -> None:
        self.heads, self.tokens, self.dim = heads, tokens, dim
        self.query_room, self.key_room = _padded(tokens, QUERY_ROWS), _padded(tokens, KEY_ROWS)
        # What lies beyond the last token is multiplied with weights of zero: it must be a number.
        self.queries = torch.zeros(heads * self.query_room * dim, dtype=torch.bfloat16)
        self.keys = torch.zeros(heads * self.key_room * dim, dtype=torch.bfloat16)
        self.values = torch.zeros_like(self.keys)

    @property
    def width(self) -> int:
        return self.heads * self.dim


def _padded(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def fits(head_dim: int, widest_row: int) -> bool:
    """Whether the kernels can do blocks of these sizes."""
    return head_dim % HEAD_DIM_MULTIPLE == 0 and head_dim <= MAX_HEAD_DIM and widest_row <= MAX_ROW_WIDTH


class Kernels:
    def __init__(self, compiled: ctypes.CDLL) -> None:
        self._compiled = compiled

    @classmethod
    @cache
    def load(cls) -> "Kernels":
        """Raises `KernelsUnavailableError` where they cannot be compiled, or the processor lacks what they are for."""
        compiled = library()
        if not compiled.bildwerk_multiplies_bfloat16():
            raise KernelsUnavailableError("this processor has no bfloat16 products (AVX512_BF16)")
        return cls(compiled)

    def modulate(self, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        """x: R C, shift, scale: C -> R C."""
        out = torch.empty_like(x)
        self._call("modulate", x, shift, scale, *x.shape, out)
        return out

    def modulate_to_int8(self, x: Tensor, shift: Tensor, scale: Tensor) -> Int8Rows:
        """x: R C, shift, scale: C -> R C."""
        out = _int8_rows(*x.shape)
        self._call("modulate_to_int8", x, shift, scale, *x.shape, out.values, out.scales)
        return out

    def gelu_into(self, out: Tensor, hidden: Product) -> None:
        """hidden: R M, out: R M, both perhaps some columns of wider tensors."""
        rows, width = hidden.rows.shape
        self._call("gelu", hidden.rows, hidden.rows.stride(0), rows, width, out, out.stride(0), strided=True)

    def gelu_to_int8(self, hidden: Product, left: Tensor | None = None) -> Int8Rows:
        """hidden: R M, left: R C -> left beside the activated hidden: R (C + M)."""
        rows, width = hidden.rows.shape
        left_width = 0 if left is None else left.shape[1]
        out = _int8_rows(rows, left_width + width)
        self._call(
            "gelu_to_int8", left, left_width, hidden.rows, hidden.rows.stride(0), width, hidden.row_scales,
            hidden.bias, rows, out.values, out.scales, strided=True,
        )  # fmt: skip
        return out

    def to_int8(self, x: Tensor) -> Int8Rows:
        """x: R K."""
        rows, width = x.shape
        out = _int8_rows(rows, width)
        self._call("gelu_to_int8", x, width, None, 0, 0, None, None, rows, out.values, out.scales)
        return out

    def rescale(self, product: Product) -> Tensor:
        """The rows, multiplied with their scales, with the bias added: R O."""
        if product.row_scales is None:
            return product.rows
        out = torch.empty_like(product.rows)
        self._call("rescale", product.rows, product.row_scales, product.bias, *product.rows.shape, out)
        return out

    def gated_sum(self, x: Tensor, product: Product, gate: Tensor) -> Tensor:
        """x: R C, product: R C, gate: C -> x + gate * product."""
        out = torch.empty_like(x)
        self._call("gated_sum", x, product.rows, gate, product.row_scales, product.bias, *x.shape, out)
        return out

    def split_heads(self, qkv: Product, norms: tuple[Tensor, Tensor], rotary: Tensor, into: Heads, first: int) -> None:
        """qkv: R (3 H D), norms: the scales of queries and keys: D, float32 each, rotary: L D/2 2, float32.

        The rows are the tokens from `first` on.
        """
        query_factor = into.dim**-0.5 * math.log2(math.e)
        self._call(
            "split_heads", qkv.rows, qkv.rows.stride(0), qkv.row_scales, qkv.bias, *norms, rotary,
            ctypes.c_float(query_factor), len(qkv.rows), first, into.heads, into.dim, into.query_room, into.key_room,
            into.queries, into.keys, into.values, strided=True,
        )  # fmt: skip

    def attend_into(self, out: Tensor, heads: Heads) -> None:
        """out: L (H D), perhaps some columns of a wider tensor."""
        self._call(
            "attend", heads.queries, heads.keys, heads.values, heads.heads, heads.tokens, heads.dim,
            heads.query_room, heads.key_room, out, out.stride(0), strided=True,
        )  # fmt: skip

    def group_norm_silu(self, x: Tensor, norm: nn.GroupNorm) -> Tensor:
        """x: B C H W, channels last -> SiLU of the norm, channels last."""
        weight, bias = norm.weight.float(), norm.bias.float()
        out = torch.empty_like(x)
        for image, result in zip(x.permute(0, 2, 3, 1), out.permute(0, 2, 3, 1), strict=True):
            pixels, channels = image.shape[0] * image.shape[1], image.shape[2]
            epsilon = ctypes.c_float(norm.eps)
            self._call("group_norm_silu", image, weight, bias, pixels, channels, norm.num_groups, epsilon, result)
        return out

    def weight_to_int8(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """weight: O K -> the same as int8: O K, and the scales of its rows: O, float32."""
        levels, scales = torch.empty(weight.shape, dtype=torch.int8), torch.empty(len(weight))
        self._call("weight_to_int8", weight, *weight.shape, levels, scales)
        return levels, scales

    def multiply_few(self, x: Tensor, levels: Tensor, scales: Tensor, bias: Tensor | None) -> Tensor:
        """x: R K, levels: O K, int8, scales and bias: O -> R O; all others float32."""
        (rows, inputs), outputs = x.shape, len(levels)
        out = torch.empty(rows, outputs)
        self._call("multiply_few", x, levels, scales, bias, rows, inputs, outputs, out)
        return out

    def _call(self, name: str, *arguments: object, strided: bool = False) -> None:
        getattr(self._compiled, f"bildwerk_{name}")(*(_argument(each, strided) for each in arguments))


def _int8_rows(rows: int, width: int) -> Int8Rows:
    return Int8Rows(torch.empty(rows, width, dtype=torch.uint8), torch.empty(rows))


def _argument(value: object, strided: bool) -> ctypes.c_void_p | ctypes.c_long | ctypes.c_float:
    if value is None:
        return ctypes.c_void_p(None)
    if isinstance(value, Tensor):
        if not (value.is_contiguous() or (strided and value.stride(-1) == 1)):
            raise ValueError(f"a kernel cannot read a tensor of strides {value.stride()}")
        return ctypes.c_void_p(value.data_ptr())
    if isinstance(value, int):
        return ctypes.c_long(value)
    if isinstance(value, ctypes.c_float):
        return value
    raise TypeError(f"a kernel cannot be given a {type(value).__name__}")
