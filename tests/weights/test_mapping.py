"""Rows and layouts: what is loaded can be written again, bit for bit."""

import pytest
import torch

from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.transformer import Flux
from bildwerk.weights.layouts import autoencoder_layouts, transformer_layouts
from bildwerk.weights.mapping import Layout, Operation, Row
from tests.parity.references import AUTOENCODER, TRANSFORMER

ROWS = {
    Operation.RENAME: (Row("a", ("x",)), [(3, 2)]),
    Operation.CONCATENATE: (Row("a", ("x", "y"), Operation.CONCATENATE, (3, 1)), [(3, 2), (1, 2)]),
    Operation.SWAP_HALVES: (Row("a", ("x",), Operation.SWAP_HALVES), [(4, 2)]),
    Operation.CONV_1X1_TO_LINEAR: (Row("a", ("x",), Operation.CONV_1X1_TO_LINEAR), [(4, 2, 1, 1)]),
}


@pytest.mark.parametrize("operation", Operation)
def test_each_operation_can_be_undone(operation: Operation) -> None:
    row, shapes = ROWS[operation]
    sources = [torch.randn(shape) for shape in shapes]
    back = row.to_sources(row.to_target(sources))
    assert all(torch.equal(a, b) for a, b in zip(sources, back, strict=True))


def test_halves_are_swapped() -> None:
    row, _ = ROWS[Operation.SWAP_HALVES]
    assert row.to_target([torch.tensor([1, 2, 3, 4])]).tolist() == [3, 4, 1, 2]


@pytest.mark.parametrize("layout", transformer_layouts(TRANSFORMER), ids=lambda layout: layout.name)
def test_a_written_transformer_reads_back(layout: Layout) -> None:
    assert_reads_back(layout, Flux(TRANSFORMER).state_dict())


@pytest.mark.parametrize("layout", autoencoder_layouts(AUTOENCODER), ids=lambda layout: layout.name)
def test_a_written_autoencoder_reads_back(layout: Layout) -> None:
    assert_reads_back(layout, Autoencoder(AUTOENCODER).state_dict())


def assert_reads_back(layout: Layout, state: dict[str, torch.Tensor]) -> None:
    written = layout.export(state)
    for row in layout.expand(state).rows:
        assert torch.equal(row.to_target([written[source] for source in row.sources]), state[row.target])


def test_original_autoencoder_attention_is_a_convolution() -> None:
    written = autoencoder_layouts(AUTOENCODER)[1].export(Autoencoder(AUTOENCODER).state_dict())
    assert written["decoder.mid.attn_1.q.weight"].shape[2:] == (1, 1)


def test_the_decoders_levels_are_counted_the_other_way() -> None:
    layout = autoencoder_layouts(AUTOENCODER)[0].expand(["decoder.up.0.block.1.conv1.weight"])
    assert layout.rows[0].sources == ("decoder.up_blocks.2.resnets.1.conv1.weight",)


def test_a_key_without_a_row_is_an_error() -> None:
    with pytest.raises(KeyError, match=r"decoder\.unheard_of"):
        autoencoder_layouts(AUTOENCODER)[0].expand(["decoder.unheard_of"])
