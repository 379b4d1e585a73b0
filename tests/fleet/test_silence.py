"""How long a child may be silent: long enough for what it has to do, and no longer."""

from bildwerk.engine.request import GenerateRequest
from bildwerk.fleet.silence import Silence


def batch(side: int, images: int = 1) -> list[GenerateRequest]:
    return [GenerateRequest("a lake", side, side, 4, 7, num_images=images)]


def test_a_small_batch_has_the_least_time_that_there_is():
    assert Silence(60).allowed(batch(64)) == 60


def test_before_anything_is_known_a_large_picture_has_minutes():
    assert Silence(60).allowed(batch(1000)) == 300


def test_a_fast_machine_is_not_waited_for_so_long():
    silence = Silence(1)
    silence.learn(batch(1000), 0.5)
    assert silence.allowed(batch(1000)) == 5
    assert silence.allowed(batch(1000, images=4)) == 20


def test_a_slow_batch_is_remembered_for_a_while():
    silence = Silence(1)
    silence.learn(batch(1000), 10.0)
    silence.learn(batch(1000), 0.5)
    assert silence.allowed(batch(1000)) == 80
