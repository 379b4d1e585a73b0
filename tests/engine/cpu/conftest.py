import pytest

from bildwerk.engine.cpu.build import KernelsUnavailableError
from bildwerk.engine.cpu.kernels import Kernels


@pytest.fixture(scope="session")
def kernels() -> Kernels:
    try:
        return Kernels.load()
    except KernelsUnavailableError as error:
        pytest.skip(f"no kernels here: {error}")
