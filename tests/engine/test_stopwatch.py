"""The time of the stages, and of nothing between them."""

from collections.abc import Iterator

from bildwerk.engine.stopwatch import Stopwatch


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def test_the_time_between_stages_is_booked_nowhere() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    with watch.stage("encode"):
        clock.time += 2
    clock.time += 100
    with watch.stage("decode"):
        clock.time += 3
    assert watch.seconds == {"encode": 2, "decode": 3}


def test_a_stage_that_is_run_again_is_booked_anew() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    for seconds in (5, 7):
        with watch.stage("decode"):
            clock.time += seconds
    assert watch.seconds == {"decode": 7}


def test_items_are_timed_until_they_come_and_not_while_they_are_used() -> None:
    clock = Clock()
    watch = Stopwatch(clock)

    def steps() -> Iterator[int]:
        for step in range(3):
            clock.time += 2
            yield step
        clock.time += 1

    for _ in watch.each("denoise", steps()):
        clock.time += 100
    assert watch.seconds == {"denoise": 7}
