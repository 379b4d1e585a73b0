import pytest
import torch
from torch import nn

from bench.gpu.networks import REAL, TINY, networks, on_meta, randomize, twin
from bildwerk.engine import precision
from bildwerk.engine.precision import (
    Float8Linear,
    Int8Linear,
    PackedLinear,
    Precision,
    QuantizedLinear,
    text_linears,
    token_linears,
)
from bildwerk.flux.params import T5Params
from bildwerk.flux.t5 import T5Encoder
from bildwerk.flux.transformer import Flux
from tests.engine.velocity import inputs, relative_error, velocity

CPU = torch.device("cpu")
LIMITS = {Precision.BF16: 0.02, Precision.FP8: 0.07, Precision.INT8: 0.03, Precision.INT4: 0.15}
TEXT_LIMIT = 0.03
ALLOWED_OVER_PLAIN = 1.15


def _error(chosen: Precision) -> float:
    exact = networks(TINY, CPU, torch.float32)
    model = twin(exact).transformer
    precision.use(chosen, model)
    given = inputs(TINY)
    if chosen is Precision.BF16:
        model, asked = model.bfloat16(), inputs(TINY, dtype=torch.bfloat16)
    else:
        asked = given
    return relative_error(velocity(model, asked), velocity(exact.transformer, given))


class FakeQuantized(nn.Module):
    """Weights and activations rounded row by row by the formula alone, the product in float32; in four bits only
    weights, in blocks of 32."""

    def __init__(self, linear: nn.Linear, levels: str) -> None:
        super().__init__()
        self.linear, self.levels = linear, levels

    def forward(self, x):
        if self.levels == "int4":
            return nn.functional.linear(x, self._in_blocks(self.linear.weight), self.linear.bias)
        return nn.functional.linear(self._rounded(x), self._rounded(self.linear.weight), self.linear.bias)

    def _in_blocks(self, weight):
        blocks = weight.unflatten(-1, (-1, 32))
        largest = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))
        return ((blocks / largest * -8).round().clamp(-8, 7) * largest / -8).flatten(-2)

    def _rounded(self, x):
        largest = x.abs().amax(-1, keepdim=True)
        if self.levels == "int8":
            return (x / largest * 127).round() * largest / 127
        return (x / largest * 448).to(torch.float8_e4m3fn).float() * largest / 448


def _plain_error(levels: str) -> float:
    exact = networks(TINY, CPU, torch.float32)
    model = twin(exact).transformer
    for owner, name, linear in list(token_linears(model)):
        setattr(owner, name, FakeQuantized(linear, levels))
    given = inputs(TINY)
    return relative_error(velocity(model, given), velocity(exact.transformer, given))


@pytest.mark.parametrize("chosen", list(Precision))
def test_the_velocity_keeps_within_the_limit_of_its_precision(chosen: Precision) -> None:
    error = _error(chosen)
    assert 1e-4 < error <= LIMITS[chosen]


@pytest.mark.parametrize("chosen", [Precision.FP8, Precision.INT8, Precision.INT4])
def test_no_precision_is_lost_beyond_the_rounding_itself(chosen: Precision) -> None:
    """Nor is another one in use, which loses less."""
    assert 1 / ALLOWED_OVER_PLAIN <= _error(chosen) / _plain_error(chosen.value) <= ALLOWED_OVER_PLAIN


def test_the_limits_would_notice_blocks_that_do_nothing() -> None:
    exact = networks(TINY, CPU, torch.float32)
    gutted = networks(TINY, CPU, torch.float32).transformer
    with torch.no_grad():
        for _, _, linear in token_linears(gutted):
            linear.weight.zero_()
    given = inputs(TINY)
    assert relative_error(velocity(gutted, given), velocity(exact.transformer, given)) >= 0.5


def test_only_what_sees_every_token_is_quantized() -> None:
    model = networks(TINY, CPU, torch.float32).transformer
    precision.use(Precision.FP8, model)
    quantized = {name for name, layer in model.named_modules() if isinstance(layer, QuantizedLinear)}
    double = {f"{s}_{p}" for s in ("img", "txt") for p in ("attn.qkv", "attn.proj", "mlp.0", "mlp.2")}
    expected = {f"double_blocks.{i}.{name}" for i in range(2) for name in double}
    expected |= {f"single_blocks.{i}.{name}" for i in range(3) for name in ("linear1", "linear2")}
    assert quantized == expected


def test_in_the_real_model_that_is_73_percent_of_the_weights() -> None:
    model = on_meta(lambda: Flux(REAL.transformer), torch.bfloat16)
    numbers = sum(layer.weight.numel() for _, _, layer in token_linears(model))
    assert numbers == 912 * 3072**2
    assert round(numbers / sum(p.numel() for p in model.parameters()), 2) == 0.72


@pytest.mark.parametrize("quantized", [Float8Linear, Int8Linear])
def test_a_row_of_zeros_stays_one_and_other_rows_do_not_change_it(quantized) -> None:
    layer = quantized.of(nn.Linear(32, 16, bias=False).requires_grad_(False))
    rows = torch.randn(1, 4, 32)
    rows[0, 1] = 0
    alone = layer(rows[:, 2:3])
    rows[0, 3] *= 1000
    together = layer(rows)
    assert together[0, 1].abs().max() == 0
    torch.testing.assert_close(together[:, 2:3], alone, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("quantized", [Float8Linear, Int8Linear])
def test_the_type_and_shape_of_the_input_are_kept(quantized) -> None:
    layer = quantized.of(nn.Linear(32, 16).requires_grad_(False))
    out = layer(torch.randn(2, 3, 32).bfloat16())
    assert (out.dtype, out.shape) == (torch.bfloat16, (2, 3, 16))
    assert layer.weight.element_size() == 1


@pytest.mark.parametrize("rows", [1, 16, 17, 40])
def test_few_rows_are_multiplied_exactly_too(rows: int) -> None:
    layer = Int8Linear.of(nn.Linear(32, 16, bias=False).requires_grad_(False))
    values = torch.randint(-127, 128, (rows, 32), dtype=torch.int8)
    assert torch.equal(layer._integers(values).long(), values.long() @ layer.weight.t().long())


def _in_real_shapes(layers: int) -> T5Encoder:
    """T5-XXL's blocks, of which there are fewer, with few words."""
    params = T5Params(vocab_size=64, num_layers=layers)
    return randomize(on_meta(lambda: T5Encoder(params), torch.float32).to_empty(device=CPU), seed=0)


@torch.no_grad()
def test_a_text_encoder_in_eight_bits_says_what_it_said_in_the_real_shapes() -> None:
    model, ids = _in_real_shapes(layers=1), torch.arange(16)[None]
    exact = model(ids)
    precision.use_in_text_encoder(Precision.INT8, model)
    assert len([layer for layer in model.modules() if isinstance(layer, PackedLinear)]) == 7
    assert not list(text_linears(model))
    assert 1e-3 < relative_error(model(ids), exact) <= TEXT_LIMIT
    for layer in model.modules():
        if isinstance(layer, PackedLinear):
            layer.get_buffer("data").zero_()
    assert relative_error(model(ids), exact) >= 0.5


@torch.no_grad()
def test_all_of_a_text_encoder_in_eight_bits_keeps_within_its_limit() -> None:
    ids = torch.arange(16)[None]
    for chosen in (Precision.BF16, Precision.INT8):
        model = networks(TINY, CPU, torch.float32).t5
        exact = model(ids)
        precision.use_in_text_encoder(chosen, model)
        error = relative_error(model(ids), exact)
        assert (error == 0) if chosen is Precision.BF16 else 1e-3 < error <= TEXT_LIMIT


def test_a_layer_whose_rows_are_no_whole_blocks_stays_as_it_is() -> None:
    odd, whole = nn.Linear(40, 8).requires_grad_(False), nn.Linear(64, 8).requires_grad_(False)
    assert precision.packed_in_four_bits(odd) is odd
    packed = precision.packed_in_four_bits(whole)
    assert isinstance(packed, PackedLinear)
    assert packed.bias is whole.bias
    assert packed.packed.data.numel() == 8 * 2 * 18
