"""Layers of bfloat16 that see few rows: their products are summed in float32 and rounded once."""

import math

import pytest
import torch
from torch import Tensor, nn

from bildwerk.engine.cpu import few_rows
from bildwerk.engine.cpu.few_rows import FEW_BF16
from bildwerk.engine.cpu.kernels import Kernels


def layer_of(inputs: int, outputs: int, *, has_bias: bool = True) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=has_bias, dtype=torch.bfloat16).requires_grad_(False)


def uses_kernel(layer: nn.Module) -> bool:
    return "FewRows" in repr(layer.forward)


@pytest.mark.parametrize("rows", [1, 3, 4, 5, FEW_BF16])
@pytest.mark.parametrize(("inputs", "outputs", "has_bias"), [(32, 7, True), (96, 64, False), (256, 33, True)])
def test_the_product_is_rounded_once(kernels: Kernels, rows: int, inputs: int, outputs: int, has_bias: bool) -> None:
    layer = layer_of(inputs, outputs, has_bias=has_bias)
    x = torch.randn(rows, 2, inputs).bfloat16()[:, 1:]  # as a part of something wider
    bias = None if layer.bias is None else layer.bias.float()
    exact = nn.functional.linear(x.float(), layer.weight.float(), bias)
    few_rows.use(layer, kernels)
    given = layer(x)
    assert uses_kernel(layer)
    assert given.dtype == torch.bfloat16
    assert given.shape == (rows, 1, outputs)
    assert (given.float() - exact).abs().max() <= 2**-8 * exact.abs().max()


def test_more_rows_and_other_types_go_the_usual_way(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[int] = []
    multiply = kernels.multiply_few_bf16

    def noted(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        called.append(len(x))
        return multiply(x, weight, bias)

    monkeypatch.setattr(kernels, "multiply_few_bf16", noted)
    layer = layer_of(32, 8)
    few_rows.use(layer, kernels)
    layer(torch.randn(FEW_BF16 + 1, 32).bfloat16())
    layer(torch.randn(FEW_BF16, 32).bfloat16())
    layer.float()(torch.randn(2, 32))
    assert called == [FEW_BF16]


def test_a_row_of_no_numbers_stays_one(kernels: Kernels) -> None:
    layer = layer_of(64, 5)
    few_rows.use(layer, kernels)
    x = torch.ones(5, 64).bfloat16()
    x[3, 40] = math.nan
    assert layer(x).isnan().any(dim=1).tolist() == [False, False, False, True, False]


def test_widths_that_the_kernel_does_not_know(kernels: Kernels) -> None:
    layer = layer_of(33, 5)
    few_rows.use(layer, kernels)
    assert not uses_kernel(layer)
    with pytest.raises(ValueError, match="multiples of 32 inputs, not 33"):
        kernels.multiply_few_bf16(torch.ones(1, 33).bfloat16(), layer.weight, layer.bias)
