"""A model and what its folder looks like."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from bildwerk.checkpoints.folder_use import used
from bildwerk.checkpoints.integrity import problems
from bildwerk.checkpoints.location import folder_of, how_to_get
from bildwerk.cli.model_files import models_folder
from bildwerk.domain.catalog import ModelSpec


@dataclass(frozen=True, slots=True)
class ModelState:
    model: ModelSpec
    folder: Path
    problems: tuple[str, ...]

    @property
    def is_ready(self) -> bool:
        return not self.problems

    @property
    def advice(self) -> str | None:
        return None if self.is_ready else how_to_get(self.model)

    def as_json(self) -> dict[str, object]:
        facts = {"ready": self.is_ready, "folder": str(self.folder), "problems": self.problems, "advice": self.advice}
        return asdict(self.model) | facts


def state_of(model: ModelSpec) -> ModelState:
    """Raises `CommandError` where the models folder cannot be told; an embedded model does without it."""
    folder = folder_of(model, Path() if model.embedded else models_folder())
    return ModelState(model, folder, tuple(problems(folder)))


def in_use(model: ModelSpec) -> AbstractContextManager[None]:
    """While it lasts, nobody removes the model's files; what is part of Bildwerk nobody removes anyway."""
    return nullcontext() if model.embedded else used(folder_of(model, models_folder()))
