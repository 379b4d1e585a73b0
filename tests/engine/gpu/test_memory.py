"""Which plan an engine begins with, and how it gives way where the memory runs out all the same."""

import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bildwerk.engine import placed_source, warm_up
from bildwerk.engine.engine import FluxEngine
from bildwerk.engine.gpu.accelerator import imitation
from bildwerk.engine.gpu.chosen_plan import MAX_FALLS
from bildwerk.engine.gpu.compile import compiled_graphs
from bildwerk.engine.gpu.footprint import footprint
from bildwerk.engine.gpu.graph_backend import Recording, RepeatedRuns
from bildwerk.engine.gpu.plan import Plan, plans
from bildwerk.engine.precision import Precision
from bildwerk.engine.request import LOADING, EngineError, EngineSpec, LostModelError, OutOfMemoryError, Progress
from tests.engine.gpu.toy import BUCKETS, PLENTY, REQUEST, are_alike, on_gpu, painted, pictures, source_of, toy_spec
from tests.engine.test_generate_contract import AtOnce

ANY = (Precision.BF16, Precision.FP8, Precision.INT4)
STRANGE = replace(REQUEST, width=48, height=16)
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
    assert {plan.precision for plan in source_of(on_gpu(spec, buckets=(), precision="bf16"))._choice._plans} == {"bf16"}
    assert on_gpu(spec, buckets=(), precision="fp8").warmth.placement == "resident (fp8)"
    with pytest.raises(EngineError, match="precision fp8 cannot be had on cpu, which has no products of float8; int8"):
        on_gpu(spec, imitation(PLENTY, eight_bits=Precision.INT8), precision="fp8")


def test_where_no_plan_fits_it_says_what_would(spec: EngineSpec) -> None:
    with pytest.raises(OutOfMemoryError, match=r"0\.0 GiB of device memory are free, and .*-streamed \(.*\) needs 0\."):
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
            raise torch.OutOfMemoryError(*FULL.args)  # an error of its own, whose frames are let go with it
        return self.run(*given)


def fail_once(engine: FluxEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    transformer = engine.components.transformer
    monkeypatch.setattr(transformer, "forward", Failing(transformer.forward))


@pytest.mark.parametrize("buckets", [BUCKETS, ()], ids=["warm", "unprepared"])
def test_a_batch_that_does_not_fit_is_made_by_the_next_plan(
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
    assert are_alike(painted(engine, REQUEST), expected)


LARGE = replace(REQUEST, width=96, height=64)
HOME, AWAY = ("resident (bf16)", "compiled and recorded"), ("text-streamed (bf16)", "attention chosen")


def in_use(engine: FluxEngine) -> tuple[str, str]:
    return engine.warmth.placement, engine.warmth.speed


def test_after_a_large_batch_that_did_not_fit_the_usual_ones_have_their_speed_again(
    spec: EngineSpec, as_written: FluxEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = on_gpu(spec)
    fail_once(engine, monkeypatch)
    compiled = compiled_graphs()
    for asked, expected in ((LARGE, AWAY), (replace(LARGE, seed=2), AWAY), (REQUEST, HOME), (STRANGE, HOME)):
        assert are_alike(painted(engine, asked), painted(as_written, asked))
        assert in_use(engine) == expected
    assert compiled_graphs() == compiled, "what was compiled before is still there"
    assert engine.warmth.compiled == 0
    assert engine.warmth.recorded > 0


def test_a_batch_of_a_usual_size_that_did_not_fit_lowers_the_plan_for_good_and_the_next_is_made_with_its_speed(
    spec: EngineSpec, as_written: FluxEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = on_gpu(spec)
    fail_once(engine, monkeypatch)
    many = replace(REQUEST, num_images=4)
    for asked, speed in ((many, "attention chosen"), (LARGE, "attention chosen"), (REQUEST, "compiled and recorded")):
        assert are_alike(painted(engine, asked), painted(as_written, asked))
        assert in_use(engine) == ("text-streamed (bf16)", speed)


def test_while_the_model_is_made_ready_again_there_is_a_sign_of_life_before_each_size(
    spec: EngineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = on_gpu(spec)
    fail_once(engine, monkeypatch)
    painted(engine, LARGE)
    events = list(engine.generate([REQUEST]))
    loading_and_each_attempt_and_each_bucket = 1 + 1 + len(BUCKETS)
    assert events[:loading_and_each_attempt_and_each_bucket] == [LOADING] * loading_and_each_attempt_and_each_bucket
    assert events.count(LOADING) == loading_and_each_attempt_and_each_bucket


def test_too_many_batches_that_do_not_fit_fail_and_cost_the_others_nothing_more(
    spec: EngineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = on_gpu(spec, buckets=())
    for _ in range(MAX_FALLS):
        fail_once(engine, monkeypatch)
        painted(engine, LARGE)
        painted(engine, REQUEST)
        assert engine.warmth.placement == "resident (bf16)"
    fail_once(engine, monkeypatch)
    with pytest.raises(OutOfMemoryError, match="too little memory for 1 picture of 96x64"):
        painted(engine, LARGE)
    assert list(engine.generate([REQUEST])).count(LOADING) == 0


def test_a_way_down_skips_plans_that_take_more(
    spec: EngineSpec, as_written: FluxEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In eight bits all on the device is more than in sixteen with all but the steps elsewhere."""
    engine = on_gpu(spec, buckets=())
    taken = []
    for _ in range(2):
        fail_once(engine, monkeypatch)
        painted(engine, REQUEST)
        taken.append(source_of(engine).plan)
    larger = [needed(plan, as_written) for plan in (plans(ANY)[0], *taken)]
    assert larger == sorted(larger, reverse=True)


def test_networks_that_gave_way_leave_no_tensor_behind(spec: EngineSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although what was compiled for them is kept."""
    engine = on_gpu(spec)
    weight = weakref.ref(engine.components.transformer.single_blocks[0].linear1.weight)
    source, seen = source_of(engine), []
    place = placed_source.place

    def placing(*given: object) -> object:
        seen.append(weight())
        return place(*given)

    monkeypatch.setattr(placed_source, "place", placing)
    transformer = engine.components.transformer
    transformer.forward = Failing(transformer.forward)  # type: ignore[assignment, method-assign]
    del transformer
    painted(engine, LARGE)
    assert seen == [None]
    assert source.plan.placement == "text-streamed"


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
    assert engine.can_fall_back([REQUEST])
    assert are_alike(painted(engine, REQUEST), painted(as_written, REQUEST))
    assert engine.warmth.plain_runs == 0


def test_a_plan_that_cannot_be_carried_out_gives_way_while_loading(
    spec: EngineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placed_source, "place", Failing(placed_source.place))
    assert on_gpu(spec, buckets=()).warmth.placement == "text-streamed (bf16)"


def test_a_model_that_cannot_be_loaded_again_is_lost(spec: EngineSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = on_gpu(spec, buckets=())
    fail_once(engine, monkeypatch)
    monkeypatch.setattr(placed_source, "place", Failing(placed_source.place, times=99))
    with pytest.raises(LostModelError, match="toy could not be loaded again: CUDA out of memory"):
        painted(engine, REQUEST)


def test_a_model_that_is_lost_while_it_is_made_warm_is_not_slowed_down(
    spec: EngineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    class LosesTheModel(RepeatedRuns):
        def record(self, run: Callable[[], torch.Tensor]) -> Recording:
            monkeypatch.setattr(placed_source, "place", Failing(placed_source.place, times=99))
            raise torch.OutOfMemoryError(*FULL.args)

    with pytest.raises(LostModelError, match="toy could not be loaded again: CUDA out of memory"):
        on_gpu(spec, imitation(PLENTY, LosesTheModel))


def test_a_model_that_cannot_be_made_ready_again_is_lost(spec: EngineSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Going on half prepared, it would compile in the middle of requests."""
    engine = on_gpu(spec)
    fail_once(engine, monkeypatch)
    painted(engine, LARGE)

    def full(*_: object) -> None:
        raise OutOfMemoryError("cpu has too little memory")

    monkeypatch.setattr(warm_up, "rehearse", full)
    with pytest.raises(LostModelError, match="toy could not be made ready again: cpu has too little memory"):
        painted(engine, REQUEST)


def test_whoever_stops_listening_while_the_model_is_made_ready_again_leaves_it_sealed(
    spec: EngineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = on_gpu(spec)
    fail_once(engine, monkeypatch)
    painted(engine, LARGE)
    events = engine.generate([REQUEST])
    loading_the_attempt_and_the_first_bucket = 3
    assert [next(events) for _ in range(loading_the_attempt_and_the_first_bucket)] == [LOADING] * 3
    events.close()  # type: ignore[attr-defined]
    recorded = engine.warmth.recorded
    painted(engine, STRANGE)
    assert engine.warmth.recorded == recorded
    assert engine.warmth.plain_runs > 0
