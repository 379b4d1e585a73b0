from dataclasses import replace

import pytest
import torch

from bench.placements import EVERY_PLAN, placed_bytes
from bildwerk.engine.buckets import Bucket
from bildwerk.engine.gpu.footprint import LIBRARIES, footprint, networks_without_memory
from bildwerk.engine.gpu.placement import ANY, DoesNotFitError, fitting, table
from bildwerk.engine.gpu.plan import Placement, Plan, find_placement, plans, plans_at
from bildwerk.engine.networks import ModelShapes, Networks
from bildwerk.engine.precision import Precision, token_linears
from bildwerk.engine.request import EngineError
from bildwerk.flux.params import AutoencoderParams, ClipParams, T5Params, TransformerParams
from bildwerk.weights.gguf_blocks import GGUF_ENCODINGS
from bildwerk.weights.packed import PackedTensor
from bildwerk.weights.quantized_linear import QuantizedLinear

REAL = ModelShapes(TransformerParams(), T5Params(), ClipParams(), AutoencoderParams())
SHALLOW = replace(
    REAL, transformer=replace(REAL.transformer, depth=3, depth_single_blocks=3), t5=replace(REAL.t5, num_layers=3)
)
RESIDENT = Plan(Placement.RESIDENT, Precision.BF16)
ANY_TEXT = (Precision.BF16, Precision.INT8)
META = torch.device("meta")
PADDING = 2**16
"""Bytes, of what travels: its tensors begin at multiples of 256. The scales of a text encoder are ten times as many."""
GB = 10**9


def in_four_bits(shapes: ModelShapes) -> Networks:
    """On `meta`, the transformer's large layers as a Q4_0 file has them."""
    model = networks_without_memory(shapes)
    encoding = GGUF_ENCODINGS["Q4_0"]
    for owner, name, linear in list(token_linears(model.transformer)):
        blocks = linear.weight.numel() // encoding.block_values
        data = torch.empty(blocks, encoding.block_bytes, dtype=torch.uint8, device="meta")
        packed = QuantizedLinear(PackedTensor(encoding, tuple(linear.weight.shape), data), has_bias=True)
        packed.bias = linear.bias
        setattr(owner, name, packed)
    return model


def test_all_parts_together_are_the_whole_model() -> None:
    need = footprint(RESIDENT, REAL)
    parameters = 11_891_178_560 + 4_762_310_656 + 123_060_480 + 83_819_683
    assert need.blocks + need.modulation + need.text + need.rest == 2 * parameters


def test_lossless_weights_without_modulation_and_text_are_17_gigabytes() -> None:
    need = footprint(Plan(Placement.MODULATION_STREAMED, Precision.BF16), REAL)
    assert 17.2 * GB < need.blocks < 17.4 * GB
    assert need.modulation < 0.25 * GB


@pytest.mark.parametrize(
    ("card", "plan"),
    [
        (80, "resident (bf16)"),
        (48, "resident (bf16)"),
        (32, "text-streamed (bf16)"),
        (24, "modulation-streamed (bf16)"),
        (16, "modulation-streamed (fp8, text int8)"),
        (12, "all-streamed (fp8, text int8)"),
        (8, "all-streamed (fp8, text int8)"),
    ],
)
def test_every_card_has_its_plan(card: int, plan: str) -> None:
    assert str(fitting(int(0.9 * card * GB), REAL, plans(ANY))[0]) == plan


def test_files_of_four_bits_keep_the_steps_resident_on_small_cards() -> None:
    """`bf16` is what the layers multiply in: packed ones stay as their file has them."""
    model = in_four_bits(REAL)
    chosen = {card: str(fitting(int(0.9 * card * GB), model, plans(ANY))[0]) for card in (24, 16, 12)}
    assert chosen == {24: "text-streamed (bf16)", 16: "modulation-streamed (bf16)", 12: "modulation-streamed (bf16)"}


@pytest.mark.parametrize("plan", EVERY_PLAN, ids=str)
def test_what_is_planned_is_what_placing_takes(plan: Plan) -> None:
    """The real widths, carried out on `meta`; `python -m bench.placements` does it with all blocks."""
    planned = footprint(plan, SHALLOW).weights
    assert abs(placed_bytes(networks_without_memory(SHALLOW), plan) - planned) <= PADDING


@pytest.mark.parametrize("plan", plans([Precision.BF16]), ids=str)
def test_so_it_is_with_files_of_four_bits(plan: Plan) -> None:
    model = in_four_bits(SHALLOW)
    planned = footprint(plan, model).weights
    assert placed_bytes(model, plan) == pytest.approx(planned, rel=0.001)


def working(precision: Precision, text: Precision = Precision.BF16, largest: Bucket = Bucket(1, 1024, 1024)) -> int:  # noqa: B008
    return footprint(Plan(Placement.ALL_STREAMED, precision, text), REAL, largest).workspace - LIBRARIES


def test_a_small_picture_leaves_room_for_the_largest_layer_while_it_is_unpacked() -> None:
    """In float32, and as it is used: of T5 from its MLP, of the transformer from a single-stream block."""
    small = Bucket(1, 64, 64)
    assert working(Precision.FP8, Precision.INT8, small) == 4096 * 10240 * 6 > working(Precision.FP8, largest=small)
    steps = working(Precision.INT4, largest=small) - 3072 * 21504 * 6
    assert 0 < steps < working(Precision.FP8, largest=small)


def test_rounding_activations_takes_room_and_sums_of_integers_more() -> None:
    """At least a single-stream block's widest product in 32 bits twice, as sums and scaled."""
    four = Bucket(4, 512, 512)
    tokens = 4 * (256 + 1024)
    sums = 2 * tokens * 21504 * 4
    assert working(Precision.BF16, largest=four) < working(Precision.FP8, largest=four) < sums
    assert sums <= working(Precision.INT8, largest=four)


def test_a_plan_that_is_offered_fits_and_so_do_those_after_it() -> None:
    for plan in fitting(20 * GB, REAL, plans(ANY)):
        assert footprint(plan, REAL).total <= 20 * GB


def test_the_best_precision_comes_first_until_the_steps_themselves_must_travel() -> None:
    assert [str(plan) for plan in plans(ANY)] == [
        "resident (bf16)",
        "text-streamed (bf16)",
        "modulation-streamed (bf16)",
        "resident (fp8)",
        "resident (fp8, text int8)",
        "text-streamed (fp8, text int8)",
        "modulation-streamed (fp8, text int8)",
        "all-streamed (fp8, text int8)",
        "all-streamed (bf16)",
    ]


def test_four_bits_come_after_all_others_and_one_placement_has_its_plans_by_precision() -> None:
    every = plans((*ANY, Precision.INT4))
    assert list(every[: len(plans(ANY))]) == list(plans(ANY))
    assert [str(plan) for plan in every[len(plans(ANY)) :]] == [
        "resident (int4)",
        "resident (int4, text int8)",
        "text-streamed (int4, text int8)",
        "modulation-streamed (int4, text int8)",
        "all-streamed (int4, text int8)",
    ]
    assert [str(plan) for plan in plans_at(Placement.RESIDENT, ANY)] == [
        "resident (bf16)",
        "resident (fp8)",
        "resident (fp8, text int8)",
    ]


def test_a_text_encoder_in_eight_bits_lets_a_card_of_24_gib_hold_all_of_fp8() -> None:
    free = 23 * 2**30
    assert str(fitting(free, REAL, plans([Precision.FP8]))[0]) == "resident (fp8, text int8)"
    exact, rounded = (footprint(Plan(Placement.RESIDENT, Precision.FP8, text), REAL) for text in ANY_TEXT)
    assert rounded.text == pytest.approx(exact.text / 2, rel=0.001)


def test_one_of_12_gib_holds_the_steps_of_fp8_beside_a_text_encoder_that_travels_in_eight_bits() -> None:
    free = int(11.2 * 2**30)
    assert str(fitting(free, REAL, plans(ANY))[0]) == "modulation-streamed (fp8, text int8)"
    assert footprint(Plan(Placement.MODULATION_STREAMED, Precision.FP8), REAL).total > free


def test_four_bits_are_asked_for_where_the_steps_are_to_stay_on_a_small_card() -> None:
    chosen = {card: str(fitting(int(0.9 * card * GB), REAL, plans([Precision.INT4]))[0]) for card in (24, 16, 12)}
    assert chosen == {
        24: "resident (int4, text int8)",
        16: "text-streamed (int4, text int8)",
        12: "modulation-streamed (int4, text int8)",
    }


@pytest.mark.parametrize("precision", list(Precision))
def test_every_precision_can_be_had_resident_where_it_fits(precision: Precision) -> None:
    assert fitting(80 * GB, REAL, plans([precision]))[0] == Plan(Placement.RESIDENT, precision)


def test_larger_pictures_batches_and_graphs_need_more() -> None:
    usual, four, large = (
        footprint(RESIDENT, REAL, bucket).workspace
        for bucket in (Bucket(1, 1024, 1024), Bucket(4, 1024, 1024), Bucket(1, 2048, 2048))
    )
    assert usual < four
    assert usual < large
    recorded = footprint(RESIDENT, REAL, records=True).workspace
    assert recorded - LIBRARIES == 2 * (usual - LIBRARIES)


def test_where_nothing_fits_it_says_what_would() -> None:
    with pytest.raises(DoesNotFitError, match=r"1\.9 GiB of device memory are free, and all-streamed \(fp8, .* needs"):
        fitting(2 * GB, REAL, plans(ANY))


def test_a_placement_that_is_none_is_refused_with_those_there_are() -> None:
    assert find_placement(None) is None
    with pytest.raises(EngineError, match="placement 'disk' is not one of resident, text-streamed, modulation-"):
        find_placement("disk")


def test_the_table_has_a_row_a_card() -> None:
    header, *rows = table(REAL)
    assert len(header) == 8
    assert [row[0] for row in rows] == ["80 GB", "48 GB", "24 GB", "16 GB", "12 GB", "8 GB"]
    assert all(len(row) == len(header) for row in rows)
    assert len(table(REAL, [2])[1]) == 2
