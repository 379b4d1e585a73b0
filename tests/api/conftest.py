from collections.abc import Iterator

import pytest

from tests.live_service import LiveService, live_service

MANY = {"BILDWERK_LIMIT_SUBMITS_PER_MINUTE": "1000000", "BILDWERK_LIMIT_READS_PER_MINUTE": "1000000"}


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    with live_service(tmp_path_factory.mktemp("service"), environment=MANY) as running:
        yield running
