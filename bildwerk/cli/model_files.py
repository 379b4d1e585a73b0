"""From the name that a person gives to the model and its files."""

import os
from dataclasses import asdict
from pathlib import Path

from bildwerk.checkpoints.integrity import problems
from bildwerk.checkpoints.location import DEFAULT_MODELS_FOLDER, folder_of, how_to_get
from bildwerk.cli.failure import CommandError
from bildwerk.domain.catalog import ModelSpec, find_model, load_catalog
from bildwerk.engine.request import EngineSpec

MODELS_VARIABLE = "BILDWERK_MODELS"


def models_folder() -> Path:
    return Path(os.environ.get(MODELS_VARIABLE) or DEFAULT_MODELS_FOLDER).expanduser()


def named_model(name: str) -> ModelSpec:
    """Raises `CommandError` that lists the models there are."""
    catalog = load_catalog()
    model = find_model(catalog, name)
    if model is None:
        raise CommandError(f"there is no model {name[:100]!r}; there are {', '.join(catalog)}")
    return model


def engine_spec(model: ModelSpec, folder: Path) -> EngineSpec:
    return EngineSpec(id=model.id, folder=folder, **asdict(model.engine))


def complete_folder(model: ModelSpec) -> Path:
    """The folder of a model whose files are all there and whole. Raises `CommandError` that says what to do."""
    folder = folder_of(model, models_folder())
    found = problems(folder)
    if found:
        raise CommandError(f"{model.id} cannot be used: {found[0]}; {how_to_get(model, folder)}")
    return folder
