"""From the name that a person gives to the model and its files."""

import os
from dataclasses import asdict
from pathlib import Path

from bildwerk.checkpoints.location import DEFAULT_MODELS_FOLDER
from bildwerk.cli.failure import CommandError
from bildwerk.domain.catalog import ModelSpec, find_model, load_catalog
from bildwerk.engine.request import EngineSpec

MODELS_VARIABLE = "BILDWERK_MODELS"


def models_folder() -> Path:
    """Raises `CommandError` where the home folder in its path is unknown."""
    folder = Path(os.environ.get(MODELS_VARIABLE) or DEFAULT_MODELS_FOLDER)
    try:
        return folder.expanduser()
    except RuntimeError as error:
        raise CommandError(f"there is no home folder for {folder}: set {MODELS_VARIABLE} to another one") from error


def named_model(name: str) -> ModelSpec:
    """Raises `CommandError` that lists the models there are."""
    catalog = load_catalog()
    model = find_model(catalog, name)
    if model is None:
        raise CommandError(f"there is no model {name[:100]!r}; there are {', '.join(catalog)}")
    return model


def engine_spec(model: ModelSpec, folder: Path) -> EngineSpec:
    return EngineSpec(id=model.id, folder=folder, **asdict(model.engine))
