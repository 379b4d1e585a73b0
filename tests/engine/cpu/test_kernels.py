"""Each kernel against torch, in float32, on sizes that fill neither rows nor blocks nor vectors."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bildwerk.engine.cpu.kernels import MAX_ROW_WIDTH, Heads, Int8Rows, Kernels, Product
from bildwerk.flux.attention import apply_rotary, attention

ROWS, WIDTH = 37, 195
ROUNDING = 2**-8
"""Of one value of bfloat16, relative."""


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


def _close(given: Tensor, expected: Tensor, tolerance: float = ROUNDING) -> None:
    torch.testing.assert_close(given.float(), expected.float(), rtol=tolerance, atol=tolerance * 1e-1)


def _values(rows: Int8Rows) -> Tensor:
    return (rows.values.float() - 128) * rows.scales[:, None]


def _is_rounding_of(rows: Int8Rows, expected: Tensor) -> None:
    """Within half a level, or the whole of one where bfloat16 lies between."""
    level = expected.abs().amax(dim=1, keepdim=True) / 127
    assert ((_values(rows) - expected).abs() <= 0.51 * level + 1e-7).all()
    assert rows.values.min() >= 1


@pytest.fixture
def modulated() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, shift, scale = _random(ROWS, WIDTH) * 3 + 1, _random(WIDTH, seed=1), _random(WIDTH, seed=2)
    return x, shift, scale, F.layer_norm(x.float(), (WIDTH,), eps=1e-6) * scale.float() + shift.float()


def test_modulate(kernels: Kernels, modulated: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    x, shift, scale, expected = modulated
    _close(kernels.modulate(x, shift, scale), expected)


def test_modulate_to_int8(kernels: Kernels, modulated: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    x, shift, scale, expected = modulated
    _is_rounding_of(kernels.modulate_to_int8(x, shift, scale), expected)


def test_gelu_of_some_columns_into_some_columns(kernels: Kernels) -> None:
    wide, out = _random(ROWS, 3 * WIDTH) * 4, torch.zeros(ROWS, 2 * WIDTH, dtype=torch.bfloat16)
    kernels.gelu_into(out[:, WIDTH:], Product(wide).columns(WIDTH, 2 * WIDTH))
    _close(out[:, WIDTH:], F.gelu(wide[:, WIDTH : 2 * WIDTH].float(), approximate="tanh"))
    assert not out[:, :WIDTH].any()


def test_gelu_beside_attention_as_int8(kernels: Kernels) -> None:
    left, raw = _random(ROWS, 64), _random(ROWS, 2 * WIDTH, seed=1) * 100
    scales, bias = torch.rand(ROWS) / 50, torch.randn(2 * WIDTH)
    hidden = Product(raw, scales, bias).columns(WIDTH, 2 * WIDTH)
    activated = F.gelu(raw[:, WIDTH:].float() * scales[:, None] + bias[WIDTH:], approximate="tanh")
    _is_rounding_of(kernels.gelu_to_int8(hidden, left), torch.cat([left.float(), activated], dim=1))
    _is_rounding_of(kernels.gelu_to_int8(hidden), activated)


def test_to_int8(kernels: Kernels) -> None:
    x = _random(ROWS, WIDTH)
    x[3] = 0
    rows = kernels.to_int8(x)
    _is_rounding_of(rows, x.float())
    assert (rows.values[3] == 128).all()
    assert rows.scales[3] == 0


@pytest.mark.parametrize("scaled", [False, True])
def test_gated_sum(kernels: Kernels, scaled: bool) -> None:
    x, y, gate = _random(ROWS, WIDTH), _random(ROWS, WIDTH, seed=1), _random(WIDTH, seed=2)
    scales, bias = torch.rand(ROWS), torch.randn(WIDTH)
    product = Product(y, scales, bias) if scaled else Product(y)
    added = y.float() * scales[:, None] + bias if scaled else y.float()
    _close(kernels.gated_sum(x, product, gate), x.float() + gate.float() * added, 2 * ROUNDING)


def _attend(kernels: Kernels, qkv: Tensor, norms: tuple[Tensor, Tensor], rotary: Tensor, cut: int, dim: int) -> Tensor:
    """As the double-stream block does it: text first, then the image."""
    tokens, width = qkv.shape[0], qkv.shape[1] // 3
    heads = Heads(width // dim, tokens, dim)
    kernels.split_heads(Product(qkv[:cut].contiguous()), norms, rotary, heads, 0)
    kernels.split_heads(Product(qkv[cut:].contiguous()), norms, rotary, heads, cut)
    out = torch.empty(tokens, width, dtype=torch.bfloat16)
    kernels.attend_into(out, heads)
    return out


@pytest.mark.parametrize(("tokens", "cut", "dim"), [(1, 0, 64), (65, 7, 64), (301, 100, 128), (700, 256, 128)])
def test_attention(kernels: Kernels, tokens: int, cut: int, dim: int) -> None:
    qkv = _random(tokens, 3 * 2 * dim)
    norms = torch.rand(dim) + 0.5, torch.rand(dim) + 0.5
    angles = torch.randn(tokens, dim // 2)
    rotary = torch.stack([angles.cos(), angles.sin()], dim=-1)
    q, k, v = qkv.float().unflatten(1, (3, 2, dim)).permute(1, 2, 0, 3).unsqueeze(1)
    q, k = (F.rms_norm(x, (dim,), norm, 1e-6) for x, norm in zip((q, k), norms, strict=True))
    expected = attention(apply_rotary(q, rotary), apply_rotary(k, rotary), v)[0]
    given = _attend(kernels, qkv, norms, rotary, cut, dim).float()
    assert (given - expected).norm() <= 0.006 * expected.norm()


def test_attention_reads_no_memory_that_nobody_wrote(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the last token too: a weight of zero times NaN would be NaN."""

    def full_of_nan(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.full(shape, math.nan, dtype=dtype)

    qkv, norms, rotary = _random(77, 3 * 2 * 128), (torch.rand(128), torch.rand(128)), torch.randn(77, 64, 2)
    expected = _attend(kernels, qkv, norms, rotary, 5, 128)
    monkeypatch.setattr(torch, "empty", full_of_nan)
    monkeypatch.setattr(torch, "empty_like", lambda x: full_of_nan(*x.shape, dtype=x.dtype))
    assert torch.equal(_attend(kernels, qkv, norms, rotary, 5, 128), expected)


def test_attention_sees_what_stands_out(kernels: Kernels) -> None:
    """A key that fits far better than those of the blocks before it takes all the weight."""
    tokens, dim, loud = 600, 64, 550
    qkv = _random(tokens, 3 * dim) * 0.01
    qkv[:, 0] = qkv[loud, dim] = 8
    norms = torch.full((dim,), 3.0), torch.full((dim,), 3.0)
    rotary = torch.tensor([1.0, 0.0]).expand(tokens, dim // 2, 2).contiguous()
    given = _attend(kernels, qkv, norms, rotary, 0, dim)
    _close(given, qkv[loud, 2 * dim :].expand_as(given), 0.02)


def test_group_norm_with_silu(kernels: Kernels) -> None:
    norm = nn.GroupNorm(4, 24, eps=1e-6)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = (_random(2, 24, 33, 21) * 5 + 50).contiguous(memory_format=torch.channels_last)
    given = kernels.group_norm_silu(x, norm)
    assert given.is_contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        _close(given, F.silu(norm(x.float())), 2 * ROUNDING)


@pytest.mark.parametrize("step", ["modulate", "int8", "gelu", "sum", "attention", "norm"])
def test_nan_stays_nan(kernels: Kernels, step: str) -> None:
    x, other = _random(ROWS, 64 * 3), _random(64 * 3)
    x[5, 7] = math.nan
    if step == "modulate":
        result = kernels.modulate(x, other, other)[5]
    elif step == "int8":
        result = kernels.to_int8(x).scales[5]
    elif step == "gelu":
        out = torch.empty_like(x)
        kernels.gelu_into(out, Product(x))
        result = out[5, 7]
    elif step == "sum":
        result = kernels.gated_sum(x, Product(x), other)[5, 7]
    elif step == "attention":
        rotary = torch.ones(ROWS, 32, 2)
        result = _attend(kernels, x, (torch.ones(64), torch.ones(64)), rotary, 0, 64)[5]
    else:
        image = x.reshape(1, ROWS, 64, 3).permute(0, 2, 1, 3).contiguous(memory_format=torch.channels_last)
        result = kernels.group_norm_silu(image, nn.GroupNorm(1, 64))
    assert result.isnan().all()


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(_random(WIDTH, ROWS).t(), id="columns first"),
        pytest.param(_random(ROWS, 2 * WIDTH)[:, :WIDTH], id="some columns"),
        pytest.param(torch.randn(ROWS, WIDTH), id="float32"),
        pytest.param(torch.randn(ROWS, WIDTH).half(), id="float16"),
        pytest.param(torch.empty(ROWS, WIDTH, dtype=torch.bfloat16, device="meta"), id="elsewhere"),
    ],
)
def test_a_tensor_that_would_be_read_as_something_else_is_refused(kernels: Kernels, x: Tensor) -> None:
    with pytest.raises(ValueError, match=r"the kernel modulate reads torch\.bfloat16 on the CPU row by row, not"):
        kernels.modulate(x, _random(WIDTH), _random(WIDTH))


def test_what_would_reach_beyond_a_buffer_is_refused(kernels: Kernels) -> None:
    wide = MAX_ROW_WIDTH + 1
    with pytest.raises(ValueError, match=f"rows of at most {MAX_ROW_WIDTH} values, not {wide}"):
        kernels.to_int8(_random(1, wide))
    with pytest.raises(ValueError, match="at most 1024 channels, not 1056"):
        kernels.group_norm_silu(_random(1, 1056, 2, 2), nn.GroupNorm(32, 1056))
    heads, norms = Heads(1, 10, 64), (torch.ones(64), torch.ones(64))
    for rows, first, positions in ((11, 0, 11), (5, 6, 10), (10, 0, 9), (3, -1, 10)):
        with pytest.raises(ValueError, match="do not fit"):
            kernels.split_heads(Product(_random(rows, 192)), norms, torch.ones(positions, 32, 2), heads, first)
    with pytest.raises(ValueError, match="come together"):
        Product(_random(1, 1), torch.ones(1))
    with pytest.raises(ValueError, match="do not fit"):
        kernels.gated_sum(_random(3, 4), Product(_random(2, 4)), _random(4))


def test_rows_too_small_to_scale_are_zeros(kernels: Kernels) -> None:
    rows = kernels.to_int8(torch.tensor([[1e-38, -1e-38, 0.0, 5e-39]]).bfloat16())
    assert (rows.values == 128).all()


def test_infinity_is_not_lost(kernels: Kernels) -> None:
    rows = kernels.to_int8(torch.tensor([[1.0, math.inf, 0.0]]).bfloat16())
    assert rows.scales.isinf().all()


def test_many_threads_compute_what_one_does(kernels: Kernels) -> None:
    """Sums over a whole image apart, which each thread begins for itself."""
    qkv, norms = _random(301, 3 * 2 * 64), (torch.rand(64), torch.rand(64))
    rotary, image = torch.randn(301, 32, 2), _random(1, 64, 70, 70).contiguous(memory_format=torch.channels_last)
    norm = nn.GroupNorm(8, 64)
    found = []
    for threads in (1, 3):
        with threads_of(threads):
            rows = kernels.modulate_to_int8(_random(99, 64), _random(64), _random(64))
            found.append((_attend(kernels, qkv, norms, rotary, 100, 64), rows, kernels.group_norm_silu(image, norm)))
    (attended, rows, normed), (attended_by_3, rows_by_3, normed_by_3) = found
    assert torch.equal(attended, attended_by_3)
    assert torch.equal(rows.values, rows_by_3.values)
    _close(normed_by_3, normed)


@contextmanager
def threads_of(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
