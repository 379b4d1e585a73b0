from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live_service import LiveService, live_service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    with live_service(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture(scope="module")
def slow_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """One that takes so long a step that nothing ends by itself within a test."""
    with live_service(tmp_path_factory.mktemp("slow"), "--fake-step-seconds", "0.5") as running:
        yield running


@pytest.fixture
def picture_file(tmp_path: Path) -> Path:
    from tests.media.pictures import encode, gradient

    path = tmp_path / "image.png"
    path.write_bytes(encode(gradient(64, 48)))
    return path
