"""One stop under load and one full disk in every test run; `scripts/soak` does as many as there is time for."""

from pathlib import Path

import pytest

from bench.soak import full_disks, stops
from bench.soak.disk import NoDisk
from bench.soak.lane import Course


def test_a_service_that_is_stopped_under_load_ends_in_time_and_loses_nothing(tmp_path: Path):
    numbers = stops.run(Course(tmp_path, rounds=2, minutes=5, seed=3))
    assert numbers["breaches"] == []
    assert (numbers["stops"], numbers["acknowledged"] > 0) == (2, True)


def test_a_service_whose_disk_is_full_refuses_and_goes_on(tmp_path: Path):
    try:
        numbers = full_disks.run(Course(tmp_path, rounds=1, minutes=5, seed=3))
    except NoDisk as reason:
        pytest.skip(f"no disk of a fixed size here: {reason}")
    assert numbers["breaches"] == []
    assert numbers["answers"]["503"] > 0
    assert numbers["acknowledged"] > 0
