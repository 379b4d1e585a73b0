import warnings

import pytest
import torch

from bildwerk.engine.placement import (
    GIB,
    PLANS,
    DoesNotFitError,
    ModelShapes,
    Plan,
    fitting,
    footprint,
    start_with_fallback,
    table,
)
from bildwerk.engine.precision import Precision
from bildwerk.flux.params import AutoencoderParams, ClipParams, T5Params, TransformerParams

REAL = ModelShapes(TransformerParams(), T5Params(), ClipParams(), AutoencoderParams())
GB = 10**9


def test_all_parts_together_are_the_whole_model() -> None:
    need = footprint(PLANS[0], REAL)
    parameters = 11_891_178_560 + 4_762_310_656 + 123_060_480 + 83_819_683
    assert need.blocks + need.modulation + need.text + need.rest == 2 * parameters


def test_lossless_weights_without_modulation_and_text_are_17_gigabytes() -> None:
    need = footprint(Plan("", Precision.BF16, streams_text=True, streams_modulation=True), REAL)
    assert 17.2 * GB < need.blocks < 17.4 * GB
    assert need.modulation < 0.25 * GB


@pytest.mark.parametrize(
    ("card", "name", "precision"),
    [
        (80, "everything resident", "bf16"),
        (48, "everything resident", "bf16"),
        (32, "text streamed", "bf16"),
        (24, "text and modulation streamed", "bf16"),
        (16, "text and modulation streamed", "fp8"),
        (12, "everything streamed", "fp8"),
        (8, "everything streamed", "fp8"),
    ],
)
def test_every_card_has_its_plan(card: int, name: str, precision: str) -> None:
    chosen = fitting(int(0.9 * card * GB), REAL)[0]
    assert (chosen.name, chosen.precision) == (name, precision)


def test_a_plan_that_is_offered_fits_and_so_do_those_after_it() -> None:
    for plan in fitting(20 * GB, REAL):
        assert footprint(plan, REAL).total <= 20 * GB


def test_a_precision_that_was_asked_for_is_kept() -> None:
    assert {plan.precision for plan in fitting(16 * GB, REAL, Precision.BF16)} == {Precision.BF16}


def test_larger_pictures_and_batches_need_more() -> None:
    needs = [
        footprint(PLANS[0], REAL, **size).workspace for size in ({}, {"batch": 4}, {"height": 2048, "width": 2048})
    ]
    assert needs[0] < needs[1] == needs[2] - (needs[2] - needs[1])
    assert needs[0] < needs[2]


def test_where_nothing_fits_it_says_what_would() -> None:
    with pytest.raises(
        DoesNotFitError, match=r"1\.9 GiB of device memory are free, and everything streamed \(fp8\) needs"
    ):
        fitting(2 * GB, REAL)


def test_a_precision_without_a_plan_is_said_to_have_none() -> None:
    with pytest.raises(DoesNotFitError, match="no plan for int8"):
        fitting(80 * GB, REAL, Precision.INT8)


def test_when_memory_runs_out_the_next_plan_is_tried_once() -> None:
    tried = []

    def start(plan: Plan) -> str:
        tried.append(plan)
        if len(tried) == 1:
            raise torch.OutOfMemoryError("full")
        return plan.name

    with pytest.warns(ResourceWarning, match=r"everything resident \(bf16\) did not fit after all"):
        assert start_with_fallback(PLANS, start) == PLANS[1].name
    assert tried == list(PLANS[:2])


def test_a_second_time_out_of_memory_is_an_error() -> None:
    tried = []

    def start(plan: Plan) -> str:
        tried.append(plan)
        raise torch.OutOfMemoryError("full")

    with pytest.warns(ResourceWarning), pytest.raises(torch.OutOfMemoryError):
        start_with_fallback(PLANS, start)
    with pytest.raises(torch.OutOfMemoryError):
        start_with_fallback(PLANS[-1:], start)
    assert len(tried) == 3


def test_what_fits_starts_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert start_with_fallback(PLANS, str) == str(PLANS[0])


def test_the_table_has_a_row_for_each_card() -> None:
    header, *rows = table(REAL, cards=(80, 24, 2))
    assert [len(header)] * 2 == [len(row) for row in rows[:2]]
    assert [row[0] for row in rows] == ["80 GB", "24 GB", "2 GB"]
    assert "are free" in rows[2][1]
    assert float(rows[0][-1]) == pytest.approx(footprint(PLANS[0], REAL).total / GIB, abs=0.01)
