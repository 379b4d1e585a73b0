"""Weights that are packed when they are loaded: in four bits as ggml does it, in eight a scale a row."""

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Type

from bildwerk.weights import pack
from bildwerk.weights.pack import FOUR_BITS, in_eight_bits, in_four_bits

SHAPE = (7, 96)


def weight(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("at_once", [1, 200, 2**22])
def test_four_bits_are_those_that_ggml_makes(dtype: torch.dtype, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "AT_ONCE", at_once)
    packed = in_four_bits(weight(dtype))
    expected = gguf.quantize(weight(dtype).float().numpy(), Type.Q4_0)
    assert np.array_equal(packed.data.numpy().reshape(expected.shape), expected)
    assert (packed.shape, packed.encoding) == (SHAPE, FOUR_BITS)


def test_zeros_stay_zeros_and_the_largest_value_of_a_block_is_kept() -> None:
    values = weight()
    values[3] = 0
    found = in_four_bits(values).unpack(torch.float32)
    assert found[3].abs().max() == 0
    largest = values[0, :32].abs().argmax()
    torch.testing.assert_close(found[0, largest], values[0, largest], rtol=1e-3, atol=0)


def test_rows_that_are_not_whole_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="a row of 40 values is not whole blocks of 32"):
        in_four_bits(torch.randn(4, 40))


def test_eight_bits_are_within_half_a_level_of_each_row() -> None:
    values = weight()
    values[0] *= 1000
    packed = in_eight_bits(values)
    assert packed.data.dtype == torch.uint8
    off = (packed.unpack(torch.float32) - values).abs() / values.abs().amax(1, keepdim=True)
    assert off.max() <= 0.5 / 127 + 1e-6


@pytest.mark.parametrize(("make", "largest"), [(in_four_bits, 0.1), (in_eight_bits, 0.015)])
def test_rounding_costs_what_its_levels_promise(make, largest: float) -> None:
    """Of normal weights, in the width that FLUX has."""
    values = torch.randn(64, 3072, generator=torch.Generator().manual_seed(1))
    error = float((make(values).unpack(torch.float32) - values).norm() / values.norm())
    assert largest / 2 < error < largest
