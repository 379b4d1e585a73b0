"""What `Engine.generate` promises, asked of both engines: the one that computes and the one without torch."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from bildwerk.engine import stopwatch
from bildwerk.engine.engine import FluxEngine
from bildwerk.engine.fake import FakeEngine
from bildwerk.engine.request import Engine, EngineSpec, Event, GeneratedImage, GenerateRequest, Progress
from tests.parity.tiny_pipeline import TEXT_TOKENS

REQUEST = GenerateRequest("the cat", width=32, height=24, steps=2, seed=11, num_images=2, id="one")
OTHER = replace(REQUEST, num_images=1, id="two")
ENCODED = Progress("encode", 1, 1)
STEPS = [Progress("denoise", 1, 2), Progress("denoise", 2, 2)]


class AtOnce(Executor):
    """Does what it is given before it returns: every file is written when the next row's turn comes."""

    def submit(self, fn: Callable[..., GeneratedImage], /, *args: object) -> Future[GeneratedImage]:  # type: ignore[override]
        future: Future[GeneratedImage] = Future()
        future.set_result(fn(*args))
        return future


@pytest.fixture(params=["flux", "fake"], scope="module")
def engine(request: pytest.FixtureRequest, random_model: Path) -> Engine:
    spec = EngineSpec("toy", random_model, max_text_tokens=TEXT_TOKENS, size_multiple=8, min_side=8, dtype="float32")
    if request.param == "fake":
        return FakeEngine(spec)
    engine = FluxEngine.load(spec, device="cpu")
    engine.encoding_threads = AtOnce()  # type: ignore[assignment]
    return engine


def shown(event: Event) -> Event | tuple[str, int]:
    return event if isinstance(event, Progress) else (event.request_id, event.index)


def cancelling_at(engine: Engine, moment: Event | tuple[str, int], dropped: str) -> Iterator[Event | tuple[str, int]]:
    cancelled: set[str] = set()
    for event in engine.generate([REQUEST, OTHER], cancelled.__contains__):
        yield shown(event)
        if shown(event) == moment:
            cancelled.add(dropped)


def test_every_stage_is_told_and_a_picture_comes_as_soon_as_it_is_written(engine: Engine) -> None:
    events = [shown(event) for event in engine.generate([REQUEST])]
    assert events == [ENCODED, *STEPS, Progress("decode", 1, 2), ("one", 0), Progress("decode", 2, 2), ("one", 1)]


def test_a_request_cancelled_before_the_first_step_costs_none(engine: Engine) -> None:
    assert list(engine.generate([REQUEST, OTHER], lambda _: True)) == [ENCODED]


@pytest.mark.parametrize("moment", [ENCODED, STEPS[0]])
def test_a_request_cancelled_between_steps_is_dropped(engine: Engine, moment: Progress) -> None:
    events = list(cancelling_at(engine, moment, "one"))
    assert events == [ENCODED, *STEPS, Progress("decode", 1, 1), ("two", 0)]


def test_when_the_last_request_is_cancelled_between_steps_nothing_follows(engine: Engine) -> None:
    cancelled: set[str] = set()
    events = []
    for event in engine.generate([REQUEST], cancelled.__contains__):
        events.append(event)
        if event == STEPS[0]:
            cancelled.add("one")
    assert events == [ENCODED, STEPS[0]]


def test_a_request_cancelled_after_the_last_step_is_not_decoded(engine: Engine) -> None:
    events = list(cancelling_at(engine, STEPS[1], "one"))
    assert events == [ENCODED, *STEPS, Progress("decode", 1, 3), ("two", 0)]


def test_a_request_cancelled_while_rows_are_decoded_costs_no_further_row(engine: Engine) -> None:
    events = list(cancelling_at(engine, ("one", 0), "one"))
    assert events == [
        ENCODED,
        *STEPS,
        Progress("decode", 1, 3),
        ("one", 0),
        Progress("decode", 2, 3),
        ("two", 0),
    ]


def test_timings_are_those_of_the_stages_without_what_the_caller_does_between(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = count()
    elsewhere = 0

    def now() -> float:
        return next(ticks) + elsewhere

    monkeypatch.setattr(stopwatch.Stopwatch.__init__, "__defaults__", (now,))
    pictures = []
    for event in engine.generate([REQUEST]):
        elsewhere += 1000
        if isinstance(event, GeneratedImage):
            pictures.append(event)
    assert [set(picture.timings) for picture in pictures] == [{"encode", "denoise", "decode"}] * 2
    assert all(picture.timings["encode"] <= 1 for picture in pictures)
    assert [picture.timings["denoise"] for picture in pictures] == [3, 3]
    assert [picture.timings["decode"] for picture in pictures] == [1, 1]


def test_requests_of_different_batch_keys_are_refused(engine: Engine) -> None:
    with pytest.raises(ValueError, match="one batch key, not of 2"):
        list(engine.generate([REQUEST, replace(REQUEST, steps=1)]))
