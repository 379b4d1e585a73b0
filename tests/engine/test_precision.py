import pytest
import torch
from torch import nn

from bench.gpu.networks import REAL, TINY, networks, on_meta, twin
from bildwerk.engine import precision
from bildwerk.engine.precision import Float8Linear, Int8Linear, Precision, QuantizedLinear, token_linears
from bildwerk.flux.transformer import Flux
from tests.engine.velocity import inputs, relative_error, velocity

CPU = torch.device("cpu")
LIMITS = {Precision.BF16: 0.02, Precision.FP8: 0.07, Precision.INT8: 0.03}
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
    """Weights and activations rounded row by row by the formula alone, the product in float32."""

    def __init__(self, linear: nn.Linear, levels: str) -> None:
        super().__init__()
        self.linear, self.levels = linear, levels

    def forward(self, x):
        return nn.functional.linear(self._rounded(x), self._rounded(self.linear.weight), self.linear.bias)

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


@pytest.mark.parametrize("chosen", [Precision.FP8, Precision.INT8])
def test_no_precision_is_lost_beyond_the_rounding_itself(chosen: Precision) -> None:
    assert _error(chosen) <= ALLOWED_OVER_PLAIN * _plain_error(chosen.value)


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
