"""What tests of more than one room share."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.books import Books

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("bildwerk", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("bildwerk")
# A job in the background of a shell ignores Ctrl-C, and so would every program that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    """A database of predictions and money, whose invariants must hold at the end of every test."""
    opened = Books(tmp_path)
    yield opened
    assert opened.breaches() == []
    opened.close()


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a toy model with random weights, as `diffusers.FluxPipeline.save_pretrained` writes it."""
    from tests.parity.tiny_pipeline import tiny_pipeline

    folder = tmp_path_factory.mktemp("random-model")
    tiny_pipeline().save_pretrained(folder)
    return folder
