"""What is said about a machine's speed: warm pictures, no remembered prompt, the stages apart."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bildwerk.engine.fake import FakeEngine
from bildwerk.engine.measurement import AT_LEAST, AT_MOST, Measurement, PictureTime, measure
from bildwerk.engine.request import EngineSpec, Event, GenerateRequest, IsCancelled, never_cancelled

REQUEST = GenerateRequest("a lake", 64, 64, steps=4, seed=7)


class Watched(FakeEngine):
    """Moves a clock of its own by a tenth of a second a picture, the first by five seconds."""

    def __init__(self) -> None:
        super().__init__(EngineSpec("painter", Path("nowhere"), size_multiple=16))
        self.asked: list[GenerateRequest] = []
        self.time = 0.0

    def generate(
        self, requests: Sequence[GenerateRequest], is_cancelled: IsCancelled = never_cancelled
    ) -> Iterator[Event]:
        self.time += 0.1 if self.asked else 5.0
        self.asked += requests
        return super().generate(requests, is_cancelled)


def measured(seconds: float) -> tuple[Watched, Measurement]:
    engine = Watched()
    return engine, measure(engine, REQUEST, seconds, now=lambda: engine.time)


def test_the_cold_picture_is_told_apart() -> None:
    _, found = measured(6.0)
    assert found.first.seconds == 5.0
    assert round(found.slowest, 6) == 0.1


def test_it_ends_when_its_time_is_over() -> None:
    _, found = measured(6.0)
    assert len(found.pictures) in (10, 11)


def test_a_slow_machine_still_makes_a_few_and_a_fast_one_not_endlessly_many() -> None:
    assert len(measured(0.0)[1].pictures) == AT_LEAST
    assert len(measured(3600.0)[1].pictures) == AT_MOST


def test_no_prompt_is_asked_twice_since_engines_remember_them() -> None:
    engine, found = measured(6.0)
    assert len({request.prompt for request in engine.asked}) == len(found.pictures) + 1
    assert len({request.seed for request in engine.asked}) == len(found.pictures) + 1


def test_the_middle_of_each_stage_is_told() -> None:
    pictures = tuple(PictureTime(spent, {"encode": 0.1, "denoise": spent, "decode": 0.2}) for spent in (1.0, 2.0, 9.0))
    found = Measurement(4, pictures[2], pictures)
    assert (found.seconds, found.fastest, found.slowest) == (2.0, 1.0, 9.0)
    assert found.stages == {"encode": 0.1, "denoise": 2.0, "decode": 0.2}
    assert found.seconds_a_step == 0.5


def test_progress_is_told_while_it_runs() -> None:
    engine, seen = Watched(), []
    measure(engine, REQUEST, 0.0, seen.append, now=lambda: engine.time)
    assert seen == [0, 1, 2, 3]
