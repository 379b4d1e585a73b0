"""The engine without torch keeps the same promises as the one with it."""

from dataclasses import replace
from io import BytesIO
from itertools import takewhile
from pathlib import Path

import pytest
from PIL import Image

from bildwerk.engine.fake import FakeEngine
from bildwerk.engine.request import EngineSpec, Event, GeneratedImage, GenerateRequest, Progress

SPEC = EngineSpec("painter", Path("nowhere"), max_native_pixels=256 * 256)
REQUEST = GenerateRequest("a lake", width=64, height=64, steps=4, seed=5, id="one")


def engine(**options: float) -> FakeEngine:
    return FakeEngine(SPEC, **options, sleep=lambda _: None)


def pictures(events: list[Event]) -> list[GeneratedImage]:
    return [event for event in events if isinstance(event, GeneratedImage)]


def test_the_picture_has_the_size_and_the_seed_that_were_asked() -> None:
    [picture] = pictures(list(engine().generate([REQUEST])))
    assert Image.open(BytesIO(picture.data)).size == (64, 64)
    assert picture.seed == 5


def test_the_picture_depends_on_prompt_and_seed_alone() -> None:
    plain = replace(REQUEST, embed_parameters=False)
    [alone] = pictures(list(engine().generate([plain])))
    together = pictures(list(engine().generate([replace(plain, seed=4, num_images=2), replace(plain, id="two")])))
    assert [picture.data == alone.data for picture in together] == [False, True, True]
    [other] = pictures(list(engine().generate([replace(plain, prompt="a hill")])))
    assert other.data != alone.data


def test_a_step_takes_its_seconds_and_is_not_taken_for_cancelled_requests() -> None:
    slept: list[float] = []
    patient = FakeEngine(SPEC, step_seconds=0.5, sleep=slept.append)
    list(patient.generate([REQUEST]))
    assert slept == [0.5] * 4
    list(patient.generate([REQUEST], lambda _: True))
    assert slept == [0.5] * 4


def test_closing_the_iterator_drops_the_batch() -> None:
    slept: list[float] = []
    running = FakeEngine(SPEC, step_seconds=0.5, sleep=slept.append).generate([REQUEST])
    list(takewhile(lambda event: event != Progress("denoise", 1, 4), running))
    running.close()
    assert slept == [0.5]


def test_no_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="one batch key, not of 0"):
        list(engine().generate([]))


def test_a_large_picture_is_scaled_up_with_a_warning() -> None:
    [picture] = pictures(list(engine().generate([replace(REQUEST, width=500, height=500)])))
    assert Image.open(BytesIO(picture.data)).size == (500, 500)
    assert picture.warnings == (
        "size 500x500 is above what the model was trained for: painted at 256x256 and scaled up",
    )
