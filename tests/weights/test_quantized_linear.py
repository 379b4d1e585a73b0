"""Layers that unpack their weights part by part."""

import pytest
import torch
from torch.nn import functional as F

from bildwerk.weights import quantized_linear
from bildwerk.weights.gguf_blocks import GGUF_ENCODINGS
from bildwerk.weights.packed import INT8, PackedTensor
from bildwerk.weights.quantized_linear import QuantizedLinear

ROWS, INPUTS = 13, 64


def int8(by_row: bool) -> PackedTensor:
    data = torch.randint(-127, 128, (ROWS, INPUTS), dtype=torch.int8, generator=torch.Generator().manual_seed(0))
    return PackedTensor(INT8, (ROWS, INPUTS), data.view(torch.uint8), torch.rand(ROWS, 1) if by_row else torch.rand(()))


def q8_0() -> PackedTensor:
    encoding = GGUF_ENCODINGS["Q8_0"]
    blocks = torch.randint(0, 256, (ROWS * INPUTS // encoding.block_values, encoding.block_bytes), dtype=torch.uint8)
    blocks[:, :2] = torch.tensor([0x00, 0x3C])  # a scale of one
    return PackedTensor(encoding, (ROWS, INPUTS), blocks)


WEIGHTS = {"a scale a row": int8(True), "one scale": int8(False), "blocks": q8_0()}


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS.keys())
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("values", [1, 3 * INPUTS, 2**22])
def test_the_parts_make_the_whole(
    weight: PackedTensor, has_bias: bool, values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantized_linear, "UNPACKED_VALUES", values)
    layer = QuantizedLinear(weight, has_bias=has_bias)
    if has_bias:
        layer.bias = torch.nn.Parameter(torch.randn(ROWS), requires_grad=False)
    x = torch.randn(2, 5, INPUTS, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(layer(x), F.linear(x, weight.unpack(torch.float32), layer.bias), rtol=1e-5, atol=1e-2)
    assert (layer.in_features, layer.out_features) == (INPUTS, ROWS)


def test_rows_that_share_a_block_are_not_taken_apart() -> None:
    packed = PackedTensor(GGUF_ENCODINGS["Q8_0"], (2, 16), torch.zeros(1, 34, dtype=torch.uint8))
    with pytest.raises(ValueError, match="not whole blocks"):
        packed.rows(0, 1)
