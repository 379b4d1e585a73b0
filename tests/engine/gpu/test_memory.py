"""Which plan an engine begins with, and how it gives way where the memory runs out all the same."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bildwerk.engine.engine import FluxEngine
from bildwerk.engine.gpu.accelerator import imitation
from bildwerk.engine.gpu.footprint import footprint
from bildwerk.engine.gpu.graph_backend import Recording, RepeatedRuns
from bildwerk.engine.gpu.plan import Plan, plans
from bildwerk.engine.precision import Precision
from bildwerk.engine.request import LOADING, EngineError, EngineSpec, LostModelError, OutOfMemoryError, Progress
from tests.engine.gpu.toy import BUCKETS, PLENTY, REQUEST, are_alike, on_gpu, painted, pictures, source_of, toy_spec
from tests.engine.test_generate_contract import AtOnce

ANY = (Precision.BF16, Precision.FP8, Precision.INT4)
FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


@pytest.fixture(scope="module")
def spec(random_model: Path) -> EngineSpec:
    return toy_spec(random_model)


@pytest.fixture(scope="module")
def as_written(spec: EngineSpec) -> FluxEngine:
    return FluxEngine.load(spec, "cpu", eager=True)


def needed(plan: Plan, model: FluxEngine) -> int:
    return footprint(plan, model.components, BUCKETS[0]).total


@pytest.mark.parametrize("plan", plans(ANY), ids=str)
def test_the_first_plan_that_the_free_memory_suffices_for_is_chosen(
    spec: EngineSpec, as_written: FluxEngine, plan: Plan
) -> None:
    free = needed(plan, as_written)
    chosen = source_of(on_gpu(spec, imitation(free), buckets=())).plan
    fit = [other for other in plans(ANY) if needed(other, as_written) <= free]
    assert chosen == fit[0]


def test_eight_bits_are_those_that_the_gpu_has(spec: EngineSpec, as_written: FluxEngine) -> None:
    [smallest] = [plan for plan in plans([Precision.INT8]) if plan.streams_blocks]
    engine = on_gpu(spec, imitation(needed(smallest, as_written), eight_bits=Precision.INT8), buckets=())
    assert engine.warmth.placement == "all-streamed (int8, text int8)"


def test_a_precision_that_was_asked_for_is_kept_and_one_that_is_not_there_is_refused(spec: EngineSpec) -> None:
    assert {plan.precision for plan in source_of(on_gpu(spec, buckets=(), precision="bf16"))._plans} == {"bf16"}
    assert on_gpu(spec, buckets=(), precision="fp8").warmth.placement == "resident (fp8)"
    with pytest.raises(EngineError, match="precision fp8 cannot be had on cpu, which has no products of float8; int8"):
        on_gpu(spec, imitation(PLENTY, eight_bits=Precision.INT8), precision="fp8")


def test_where_no_plan_fits_it_says_what_would(spec: EngineSpec) -> None:
    with pytest.raises(
        OutOfMemoryError, match=r"0\.0 GiB of device memory are free, and .*-streamed \(.*\) needs 0\."
    ):
        on_gpu(spec, imitation(10**6))


def test_a_placement_that_was_asked_for_is_taken_with_a_warning_where_it_hardly_fits(
    spec: EngineSpec, caplog: pytest.LogCaptureFixture
) -> None:
    engine = on_gpu(spec, imitation(10**6), buckets=(), placement="text-streamed")
    assert engine.warmth.placement == "text-streamed (bf16)"
    assert "but that is what was asked for" in caplog.text


def test_placements_are_for_gpus_and_have_names(spec: EngineSpec) -> None:
    with pytest.raises(EngineError, match="placement all-streamed is for GPUs: on cpu everything is resident"):
        FluxEngine.load(spec, "cpu", placement="all-streamed")
    with pytest.raises(EngineError, match="placement 'somewhere' is not one of resident, text-streamed"):
        on_gpu(spec, placement="somewhere")


class Failing:
    """Runs out of memory the first `times` times that it is called."""

    def __init__(self, run: Callable[..., object], times: int = 1) -> None:
        self.run, self.times = run, times

    def __call__(self, *given: object) -> object:
        if self.times:
            self.times -= 1
            raise FULL
        return self.run(*given)


def fail_once(engine: FluxEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    transformer = engine.components.transformer
    monkeypatch.setattr(transformer, "forward", Failing(transformer.forward))


@pytest.mark.parametrize("buckets", [BUCKETS, ()], ids=["warm", "unprepared"])
def test_a_batch_that_does_not_fit_is_made_by_the_next_plan_once(
    spec: EngineSpec,
    as_written: FluxEngine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    buckets: tuple,
) -> None:
    engine = on_gpu(spec, buckets=buckets)
    fail_once(engine, monkeypatch)
    expected = painted(as_written, REQUEST)
    assert are_alike(painted(engine, REQUEST), expected)
    assert (engine.warmth.placement, engine.warmth.speed) == ("text-streamed (bf16)", "attention chosen")
    assert "resident (bf16) did not fit after all (cpu has too little memory for 1 picture of 32x24" in caplog.text
    assert engine.warmth.compiled == 0
    fail_once(engine, monkeypatch)
    with pytest.raises(OutOfMemoryError, match="too little memory for 1 picture"):
        painted(engine, REQUEST)
    assert are_alike(painted(engine, REQUEST), expected)


def test_a_picture_that_was_delivered_is_not_delivered_twice(spec: EngineSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = on_gpu(spec, buckets=())
    engine.encoding_threads = AtOnce()  # type: ignore[assignment]
    decode, failing = engine.decode, iter([False, True])

    def second_fails(canvas):
        if next(failing, False):
            raise FULL
        return decode(canvas)

    monkeypatch.setattr(engine, "decode", second_fails)
    events = list(engine.generate([REQUEST, replace(REQUEST, prompt="a dog", seed=1, id="two")]))
    assert [picture.request_id for picture in pictures(events)] == ["one", "two"]
    assert events.count(Progress("denoise", 1, 4)) == 2
    assert events.count(LOADING) == 1
    assert events[events.index(LOADING) + 1] == Progress("encode", 1, 1)


def test_that_the_model_is_loaded_anew_is_told_before_it_is(spec: EngineSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = on_gpu(spec, buckets=())
    fail_once(engine, monkeypatch)
    told = next(event for event in engine.generate([REQUEST]) if event == LOADING)
    assert (told, engine.warmth.placement) == (LOADING, "resident (bf16)")


class SmallGraphs(RepeatedRuns):
    """Has no room for the first recording that is made."""

    def __init__(self, failures: Iterator[bool]) -> None:
        self.failures = failures

    def record(self, run) -> Recording:
        if next(self.failures, False):
            raise FULL
        return super().record(run)


def test_where_warming_up_runs_out_of_memory_the_next_plan_is_made_warm(
    spec: EngineSpec, as_written: FluxEngine
) -> None:
    in_the_second_bucket = 7
    failures = iter([False] * in_the_second_bucket + [True])
    engine = on_gpu(spec, imitation(PLENTY, lambda: SmallGraphs(failures)))
    assert (engine.warmth.placement, engine.warmth.speed) == ("text-streamed (bf16)", "compiled and recorded")
    assert engine.can_fall_back
    assert are_alike(painted(engine, REQUEST), painted(as_written, REQUEST))
    assert engine.warmth.plain_runs == 0


def test_a_plan_that_cannot_be_carried_out_gives_way_while_loading(
    spec: EngineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bildwerk.engine import placed_source

    monkeypatch.setattr(placed_source, "place", Failing(placed_source.place))
    assert on_gpu(spec, buckets=()).warmth.placement == "text-streamed (bf16)"


def test_a_model_that_cannot_be_loaded_again_is_lost(spec: EngineSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    from bildwerk.engine import placed_source

    engine = on_gpu(spec, buckets=())
    fail_once(engine, monkeypatch)
    monkeypatch.setattr(placed_source, "place", Failing(placed_source.place, times=99))
    with pytest.raises(LostModelError, match="toy could not be loaded again: CUDA out of memory"):
        painted(engine, REQUEST)
