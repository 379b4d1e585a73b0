"""The engine on a GPU, imitated: warm for the shapes that were announced, right in all others."""

from dataclasses import replace
from pathlib import Path

import pytest

from bildwerk.engine.buckets import ROW_BUDGET, Bucket, usual_buckets
from bildwerk.engine.engine import FluxEngine
from bildwerk.engine.fast_path import as_written as as_written_again
from bildwerk.engine.gpu.accelerator import imitation
from bildwerk.engine.gpu.compile import Compiler, compiled_graphs
from bildwerk.engine.gpu.graph_backend import Recording, RepeatedRuns
from bildwerk.engine.gpu.plan import Placement
from bildwerk.engine.placed_source import EFFORTS
from bildwerk.engine.request import EngineSpec, GenerateRequest, Progress, Warmth
from bildwerk.weights.quantized_linear import QuantizedLinear
from tests.engine.gpu.tape import TapedRuns
from tests.engine.gpu.toy import (
    BUCKETS,
    PLENTY,
    REQUEST,
    are_alike,
    on_gpu,
    painted,
    pictures,
    pixels,
    source_of,
    toy_spec,
)

SCHNELL = EngineSpec("schnell", Path("nowhere"))
WARM_REQUESTS = (
    [REQUEST],
    [replace(REQUEST, prompt="a dog", seed=5)],
    [replace(REQUEST, num_images=2)],
    [REQUEST, replace(REQUEST, prompt="12 cats", seed=99, id="two")],
    [replace(REQUEST, num_images=3)],
    [replace(REQUEST, num_images=5, prompt="a cat and 3 dogs")],
)
STRANGE = replace(REQUEST, width=48, height=16)


@pytest.fixture(scope="module")
def spec(random_model: Path) -> EngineSpec:
    return toy_spec(random_model)


@pytest.fixture(scope="module")
def as_written(spec: EngineSpec) -> FluxEngine:
    return FluxEngine.load(spec, "cpu", eager=True)


@pytest.fixture(scope="module")
def warm(spec: EngineSpec) -> FluxEngine:
    return on_gpu(spec)


@pytest.fixture(scope="module")
def taped(spec: EngineSpec) -> FluxEngine:
    """Recorded by graphs of which nothing but the operations is left."""
    return on_gpu(spec, imitation(PLENTY, TapedRuns))


@pytest.mark.parametrize("requests", WARM_REQUESTS, ids=lambda asked: f"{sum(one.num_images for one in asked)}")
@pytest.mark.parametrize("name", ["warm", "taped"])
def test_it_paints_what_the_networks_paint_as_written(
    name: str, requests: list[GenerateRequest], as_written: FluxEngine, request: pytest.FixtureRequest
) -> None:
    engine: FluxEngine = request.getfixturevalue(name)
    before = engine.warmth
    assert are_alike(painted(engine, *requests), painted(as_written, *requests))
    assert engine.warmth == before
    assert (before.speed, before.placement, before.compiled) == (EFFORTS[0].name, "resident (bf16)", 0)
    assert before.recorded > 0


def test_a_size_that_was_not_announced_is_right_and_counted_and_compiles_nothing(
    spec: EngineSpec, as_written: FluxEngine
) -> None:
    engine = on_gpu(spec, buckets=BUCKETS[:1])
    assert engine.warmth.plain_runs == 0
    assert are_alike(painted(engine, STRANGE), painted(as_written, STRANGE))
    assert engine.warmth.plain_runs > 0
    assert engine.warmth.compiled == 0
    assert are_alike(painted(engine, REQUEST), painted(as_written, REQUEST))


def test_code_that_compiles_in_the_middle_of_a_request_is_counted(spec: EngineSpec) -> None:
    engine = on_gpu(spec, buckets=BUCKETS[:1])
    source_of(engine).open()
    painted(engine, STRANGE)
    assert engine.warmth.compiled > 0


def test_the_rest_of_a_batch_goes_on_in_a_shape_that_is_warm(warm: FluxEngine, as_written: FluxEngine) -> None:
    cancelled: set[str] = set()
    found, before = [], warm.warmth
    for event in warm.generate([replace(REQUEST, id="dropped", seed=1), REQUEST], cancelled.__contains__):
        found.append(event)
        if event == Progress("denoise", 2, 4):
            cancelled.add("dropped")
    assert are_alike([pixels(picture) for picture in pictures(found)], painted(as_written, REQUEST))
    only_the_modulation_of_fewer_steps = before.plain_runs + 1
    assert warm.warmth == replace(before, plain_runs=only_the_modulation_of_fewer_steps)


def test_each_bucket_is_told_and_the_rehearsed_prompts_are_forgotten(spec: EngineSpec) -> None:
    told: list[tuple[str, int, int]] = []
    engine = on_gpu(spec, on_warm=lambda *progress: told.append(progress))
    assert told == [("1 x 32x24", 0, 2), ("1 x 32x24", 1, 2), ("2 x 32x24", 2, 2)]
    assert not engine.prompt_encoder._known


@pytest.mark.parametrize("options", [{"eager": True}, {"buckets": ()}], ids=["eager", "no buckets"])
def test_nothing_is_compiled_or_recorded_unasked(
    spec: EngineSpec, as_written: FluxEngine, options: dict[str, object]
) -> None:
    engine = on_gpu(spec, **options)
    assert engine.warmth.speed == ("as written" if "eager" in options else "attention chosen")
    assert engine.warmth.recorded == 0
    assert are_alike(painted(engine, REQUEST), painted(as_written, REQUEST))
    assert ("forward" in vars(engine.components.transformer.single_blocks[0])) == ("eager" not in options)


def test_a_model_in_float32_runs_as_it_is_written(random_model: Path) -> None:
    engine = on_gpu(toy_spec(random_model, "float32"))
    assert engine.warmth == Warmth("resident", "as written")
    exact = FluxEngine.load(engine.spec, "cpu")
    assert are_alike(painted(engine, REQUEST), painted(exact, REQUEST), levels=0)


class CountedTapes(TapedRuns):
    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def record(self, run) -> Recording:
        made = super().record(run)
        self.shapes.append(tuple(made.output.shape))
        return made


@pytest.mark.parametrize("placement", list(Placement))
def test_every_placement_paints_the_same_and_records_only_what_is_resident(
    spec: EngineSpec, as_written: FluxEngine, placement: Placement
) -> None:
    """A recording of what is streamed would be replayed on another block's weights: the pictures would differ."""
    backend = CountedTapes()
    engine = on_gpu(spec, imitation(PLENTY, lambda: backend), BUCKETS[:1], placement=placement)
    for asked in (REQUEST, replace(REQUEST, seed=3, prompt="a dog")):
        assert are_alike(painted(engine, asked), painted(as_written, asked))
    assert engine.warmth.placement == f"{placement} (bf16)"
    dimensions = sorted(len(shape) for shape in backend.shapes)
    texts, summary, modulation, step, picture = 3, 2, 5, 3, 4
    resident = {
        Placement.RESIDENT: [summary, texts, step, picture, modulation],
        Placement.TEXT_STREAMED: [summary, step, picture, modulation],
        Placement.MODULATION_STREAMED: [summary, step, picture],
        Placement.ALL_STREAMED: [summary, picture],
    }
    assert dimensions == sorted(resident[placement])


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "bildwerk.engine"]


def _broken(*_: object) -> None:
    raise RuntimeError("no such kernel\nand more")


def test_where_compiling_fails_it_goes_on_recorded_and_says_so(
    spec: EngineSpec, as_written: FluxEngine, caplog: pytest.LogCaptureFixture
) -> None:
    gpu = replace(imitation(PLENTY), compiler=Compiler(backend=_broken))  # type: ignore[arg-type]
    told: list[tuple[str, int, int]] = []
    engine = on_gpu(spec, gpu, BUCKETS[:1], on_warm=lambda *progress: told.append(progress))
    assert told == [("1 x 32x24", done, 1) for done in (0, 0, 0, 1)], "each attempt gives a sign of life"
    assert engine.warmth.speed == "recorded"
    assert engine.warmth.recorded > 0
    both, alone = warnings_of(caplog)
    assert both.startswith("toy cannot be compiled and recorded (")
    assert alone.startswith("toy cannot be compiled (")
    assert are_alike(painted(engine, REQUEST), painted(as_written, REQUEST))


class BrokenGraphs:
    def record(self, run) -> Recording:
        raise RuntimeError("operation not permitted when stream is capturing")


def test_where_recording_fails_it_goes_on_compiled_and_compiles_nothing_unannounced(
    spec: EngineSpec, as_written: FluxEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine = on_gpu(spec, imitation(PLENTY, BrokenGraphs), BUCKETS[:1])
    assert (engine.warmth.speed, engine.warmth.recorded, engine.warmth.plain_runs) == ("compiled", 0, 0)
    assert len(warnings_of(caplog)) == 1
    before = compiled_graphs()
    for asked in (REQUEST, replace(REQUEST, prompt="a dog", num_images=2), STRANGE):
        assert are_alike(painted(engine, asked), painted(as_written, asked))
        assert (engine.warmth.plain_runs > 0) == (asked is STRANGE)
    assert engine.warmth.compiled == compiled_graphs() - before == 0


def test_where_recording_and_compiling_fail_it_goes_on_without(
    spec: EngineSpec, as_written: FluxEngine, caplog: pytest.LogCaptureFixture
) -> None:
    gpu = replace(imitation(PLENTY, BrokenGraphs), compiler=Compiler(backend=_broken))  # type: ignore[arg-type]
    engine = on_gpu(spec, gpu, BUCKETS[:1])
    assert engine.warmth.speed == "attention chosen"
    assert len(warnings_of(caplog)) == 3
    assert are_alike(painted(engine, REQUEST), painted(as_written, REQUEST))


def test_a_server_is_warm_for_the_usual_sizes_within_a_budget_of_rows() -> None:
    assert [str(bucket) for bucket in usual_buckets(SCHNELL)] == [
        "1 x 1024x1024",
        "1 x 512x512",
        "4 x 512x512",
        "1 x 1024x768",
        "2 x 1024x768",
        "1 x 768x1024",
        "2 x 768x1024",
    ]


def test_sizes_that_the_model_does_not_paint_itself_are_left_out() -> None:
    small = replace(SCHNELL, default_width=256, default_height=256, size_multiple=32, min_side=200)
    assert {(bucket.width, bucket.height) for bucket in usual_buckets(small)} == {(256, 256)}
    assert Bucket(4, 256, 256) in usual_buckets(small)


@pytest.mark.parametrize("backend", [RepeatedRuns, TapedRuns])
def test_a_transformer_in_four_bits_beside_a_text_encoder_in_eight_is_compiled_and_recorded(
    spec: EngineSpec, backend: type
) -> None:
    """The pictures are those of the same weights as they are written; how far they are from the exact ones is said
    elsewhere."""
    engine = on_gpu(spec, imitation(PLENTY, backend), BUCKETS[:1], precision="int4", placement="text-streamed")
    assert (engine.warmth.placement, engine.warmth.speed) == (
        "text-streamed (int4, text int8)",
        "compiled and recorded",
    )
    packed = [part for part in engine.components.transformer.modules() if isinstance(part, QuantizedLinear)]
    assert packed
    fast = painted(engine, REQUEST)
    as_written_again(engine.components)
    assert are_alike(fast, painted(engine, REQUEST))


@pytest.mark.parametrize(("side", "pictures"), [(1024, 1), (768, 3), (512, 6), (256, 16)])
def test_the_budget_of_rows_is_clear_of_one_picture_more(side: int, pictures: int) -> None:
    rows = SCHNELL.max_text_tokens + (side // 16) ** 2
    assert pictures * rows <= 0.98 * ROW_BUDGET
    assert (pictures + 1) * rows >= 1.02 * ROW_BUDGET
