"""What a submission is made of."""

from bildwerk.jobs.submission import new_prediction_id

HEX_DIGITS = 32
IDS = 10_000


def test_an_id_has_128_random_bits_and_none_comes_twice() -> None:
    ids = [new_prediction_id() for _ in range(IDS)]
    assert len(set(ids)) == IDS
    for position in range(-HEX_DIGITS, 0):
        seen = {identifier[position] for identifier in ids}
        assert seen == set("0123456789abcdef"), f"digit {position} is not random: {sorted(seen)}"
