"""One power cut in every test run; `scripts/soak power_cuts` does as many as there is time for."""

from pathlib import Path

import pytest

from bench.soak.disk import NoDisk
from bench.soak.lane import Course
from bench.soak.power_cuts import run

SEED = 2
"""Its cut comes late enough for orders to be acknowledged on a slow machine."""


def test_what_was_acknowledged_survives_a_power_cut(tmp_path: Path):
    try:
        numbers = run(Course(tmp_path, rounds=1, minutes=5, seed=SEED))
    except NoDisk as reason:
        pytest.skip(f"no power cuts here: {reason}")
    assert numbers["breaches"] == []
    assert numbers["acknowledged"] > 0
