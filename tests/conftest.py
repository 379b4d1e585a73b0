from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.books import Books


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    """A database of predictions and money, whose invariants must hold at the end of every test."""
    opened = Books(tmp_path)
    yield opened
    assert opened.breaches() == []
    opened.close()
