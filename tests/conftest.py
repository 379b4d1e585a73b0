"""What tests of more than one room share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a toy model with random weights, as `diffusers.FluxPipeline.save_pretrained` writes it."""
    from tests.parity.tiny_pipeline import tiny_pipeline

    folder = tmp_path_factory.mktemp("random-model")
    tiny_pipeline().save_pretrained(folder)
    return folder
