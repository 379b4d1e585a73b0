"""The passes between the matrix products of a FLUX block, as functions of tensors. What each does is in `kernels.c`.

R rows (tokens), C hidden size, M MLP hidden size, H heads, D head dim, L tokens of all streams.
All tensors are bfloat16 on the CPU unless they say otherwise.
"""

import ctypes
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from bildwerk.engine.cpu.build import KernelsUnavailableError, library

QUERY_ROWS, KEY_ROWS = 96, 64
"""What the rows of queries and of keys and values are padded to a multiple of."""
KEY_GROUP, VALUE_COLUMNS = 16, 64
"""Keys lie in groups of so many tokens, values in panels of so many columns."""
FEW_INPUTS_MULTIPLE = 32
HEAD_DIM_MULTIPLE, MAX_HEAD_DIM = 64, 128
MAX_ROW_WIDTH = 32768
MAX_CHANNELS = 1024


STRIDED = "rows"
TYPES = {
    "bf16": torch.bfloat16, STRIDED: torch.bfloat16, "f32": torch.float32, "u8": torch.uint8, "i8": torch.int8
}  # fmt: skip
NUMBERS: dict[str, Callable[[Any], ctypes.c_long | ctypes.c_float]] = {"n": ctypes.c_long, "real": ctypes.c_float}
SIGNATURES = {
    "modulate": "bf16 bf16 bf16 n n bf16",
    "modulate_to_int8": "bf16 bf16 bf16 n n u8 f32",
    "gelu": "rows n n n rows n",
    "gelu_to_int8": "bf16 n rows n n f32 f32 n u8 f32",
    "gated_sum": "bf16 bf16 bf16 f32 f32 n n bf16",
    "split_heads": "rows n f32 f32 f32 f32 f32 real n n n n n n bf16 bf16 bf16",
    "attend": "bf16 bf16 bf16 n n n n n rows n",
    "group_norm_silu": "bf16 f32 f32 n n n real bf16",
    "multiply_few": "f32 i8 f32 f32 n n n f32",
    "multiply_few_bf16": "bf16 bf16 bf16 n n n bf16",
}
"""Of the functions in C: numbers, and tensors by their type; `rows` are of bfloat16, perhaps columns of wider ones."""


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

    def __post_init__(self) -> None:
        if (self.row_scales is None) != (self.bias is None):
            raise ValueError("row scales and bias of a product come together or not at all")

    def columns(self, begin: int, end: int) -> "Product":
        """Some of the columns; a view."""
        bias = None if self.bias is None else self.bias[begin:end]
        return Product(self.rows[:, begin:end], self.row_scales, bias)


class Heads:
    """Room for the queries, keys and values of one joint attention, in the order that `attend` reads."""

    def __init__(self, heads: int, tokens: int, dim: int) -> None:
        self.heads, self.tokens, self.dim = heads, tokens, dim
        self.query_room, self.key_room = _padded(tokens, QUERY_ROWS), _padded(tokens, KEY_ROWS)
        self.queries = torch.empty(heads * self.query_room * dim, dtype=torch.bfloat16)
        self.keys = torch.empty(heads * self.key_room * dim, dtype=torch.bfloat16)
        self.values = torch.empty_like(self.keys)
        self._fill_beyond_last_token()

    def _fill_beyond_last_token(self) -> None:
        """What lies there is multiplied with weights of zero: it must be a number."""
        self.queries.view(self.heads, self.query_room, self.dim)[:, self.tokens :] = 0
        self.keys.view(self.heads, self.key_room // KEY_GROUP, -1)[:, self.tokens // KEY_GROUP :] = 0
        self.values.view(-1, self.key_room // 2, 2 * VALUE_COLUMNS)[:, self.tokens // 2 :] = 0

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
        _require_widths(x.shape[1])
        out = torch.empty_like(x)
        self._call("modulate", x, shift, scale, *x.shape, out)
        return out

    def modulate_to_int8(self, x: Tensor, shift: Tensor, scale: Tensor) -> Int8Rows:
        """x: R C, shift, scale: C -> R C."""
        _require_widths(x.shape[1])
        out = _int8_rows(*x.shape)
        self._call("modulate_to_int8", x, shift, scale, *x.shape, out.values, out.scales)
        return out

    def gelu_into(self, out: Tensor, hidden: Product) -> None:
        """hidden: R M, out: R M, both perhaps some columns of wider tensors."""
        rows, width = hidden.rows.shape
        if hidden.row_scales is not None or out.shape != hidden.rows.shape:
            raise ValueError("this kernel takes finished rows, and room of their size")
        self._call("gelu", hidden.rows, hidden.rows.stride(0), rows, width, out, out.stride(0))

    def gelu_to_int8(self, hidden: Product, left: Tensor | None = None) -> Int8Rows:
        """hidden: R M, left: R C -> left beside the activated hidden: R (C + M)."""
        rows, width = hidden.rows.shape
        left_width = 0 if left is None else left.shape[1]
        _require_widths(left_width + width)
        out = _int8_rows(rows, left_width + width)
        self._call(
            "gelu_to_int8", left, left_width, hidden.rows, hidden.rows.stride(0), width, hidden.row_scales,
            hidden.bias, rows, out.values, out.scales,
        )  # fmt: skip
        return out

    def to_int8(self, x: Tensor) -> Int8Rows:
        """x: R K."""
        rows, width = x.shape
        _require_widths(width)
        out = _int8_rows(rows, width)
        self._call("gelu_to_int8", x, width, None, 0, 0, None, None, rows, out.values, out.scales)
        return out

    def gated_sum(self, x: Tensor, product: Product, gate: Tensor) -> Tensor:
        """x: R C, product: R C, gate: C -> x + gate * product."""
        _require_widths(x.shape[1])
        if product.rows.shape != x.shape or gate.shape != x.shape[1:]:
            raise ValueError(
                f"rows of {tuple(product.rows.shape)} do not fit {tuple(x.shape)}, gate {tuple(gate.shape)}"
            )
        out = torch.empty_like(x)
        self._call("gated_sum", x, product.rows, gate, product.row_scales, product.bias, *x.shape, out)
        return out

    def split_heads(self, qkv: Product, norms: tuple[Tensor, Tensor], rotary: Tensor, into: Heads, first: int) -> None:
        """qkv: R (3 H D), norms: the scales of queries and keys: D, float32 each, rotary: L D/2 2, float32.

        The rows are the tokens from `first` on.
        """
        end = first + len(qkv.rows)
        if not (first >= 0 and end <= into.tokens <= len(rotary) and qkv.rows.shape[1] == 3 * into.width):
            raise ValueError(f"tokens {first} to {end} of {into.tokens} do not fit {len(rotary)} positions")
        query_factor = into.dim**-0.5 * math.log2(math.e)
        self._call(
            "split_heads", qkv.rows, qkv.rows.stride(0), qkv.row_scales, qkv.bias, *norms, rotary,
            query_factor, len(qkv.rows), first, into.heads, into.dim, into.query_room, into.key_room,
            into.queries, into.keys, into.values,
        )  # fmt: skip

    def attend_into(self, out: Tensor, heads: Heads) -> None:
        """out: L (H D), perhaps some columns of a wider tensor."""
        self._call(
            "attend", heads.queries, heads.keys, heads.values, heads.heads, heads.tokens, heads.dim,
            heads.query_room, heads.key_room, out, out.stride(0),
        )  # fmt: skip

    def group_norm_silu(self, x: Tensor, norm: nn.GroupNorm) -> Tensor:
        """x: B C H W, channels last -> SiLU of the norm, channels last."""
        if norm.num_channels > MAX_CHANNELS:
            raise ValueError(f"a kernel norms at most {MAX_CHANNELS} channels, not {norm.num_channels}")
        weight, bias = norm.weight.float(), norm.bias.float()
        out = torch.empty_like(x)
        for image, result in zip(x.permute(0, 2, 3, 1), out.permute(0, 2, 3, 1), strict=True):
            pixels, channels = image.shape[0] * image.shape[1], image.shape[2]
            numbers = pixels, channels, norm.num_groups, norm.eps
            self._call("group_norm_silu", image, weight, bias, *numbers, result)
        return out

    def multiply_few(self, x: Tensor, levels: Tensor, scales: Tensor, bias: Tensor | None) -> Tensor:
        """x: R K, levels: O K, int8, scales and bias: O -> R O; all others float32."""
        (rows, inputs), outputs = x.shape, len(levels)
        _require_widths(inputs)
        out = torch.empty(rows, outputs)
        self._call("multiply_few", x, levels, scales, bias, rows, inputs, outputs, out)
        return out

    def multiply_few_bf16(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """x: R K, weight: O K, bias: O -> R O."""
        (rows, inputs), outputs = x.shape, len(weight)
        if inputs % FEW_INPUTS_MULTIPLE or weight.shape[1] != inputs:
            raise ValueError(f"this kernel multiplies multiples of {FEW_INPUTS_MULTIPLE} inputs, not {inputs}")
        out = torch.empty(rows, outputs, dtype=torch.bfloat16)
        self._call("multiply_few_bf16", x, weight, bias, rows, inputs, outputs, out)
        return out

    def _call(self, name: str, *arguments: object) -> None:
        converted = [
            _argument(name, kind, value) for kind, value in zip(SIGNATURES[name].split(), arguments, strict=True)
        ]
        getattr(self._compiled, f"bildwerk_{name}")(*converted)


def _int8_rows(rows: int, width: int) -> Int8Rows:
    return Int8Rows(torch.empty(rows, width, dtype=torch.uint8), torch.empty(rows))


def _require_widths(*widths: int) -> None:
    if max(widths) > MAX_ROW_WIDTH:
        raise ValueError(f"a kernel holds rows of at most {MAX_ROW_WIDTH} values, not {max(widths)}")


def _argument(kernel: str, kind: str, value: object) -> ctypes.c_void_p | ctypes.c_long | ctypes.c_float:
    """Raises `ValueError` for a tensor that the kernel would read as something else."""
    if kind in NUMBERS:
        return NUMBERS[kind](value)
    if value is None:
        return ctypes.c_void_p(None)
    if not isinstance(value, Tensor):
        raise TypeError(f"the kernel {kernel} cannot be given a {type(value).__name__} for a tensor")
    lies_well = value.stride(-1) == 1 if kind == STRIDED else value.is_contiguous()
    if value.dtype != TYPES[kind] or value.device.type != "cpu" or not lies_well:
        found = f"{value.dtype} on {value.device} with strides {value.stride()}"
        raise ValueError(f"the kernel {kernel} reads {TYPES[kind]} on the CPU row by row, not {found}")
    return ctypes.c_void_p(value.data_ptr())
