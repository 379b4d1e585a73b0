"""The LoRAs that the owner has put in place: `loras/MODEL/NAME.safetensors` in the folder of the models.

The folder is the whole truth: what lies in it can be asked for at once, and what is taken out of it cannot any more.
"""

from dataclasses import dataclass
from pathlib import Path

from bildwerk.domain.errors import SetupError
from bildwerk.weights.errors import WeightsError
from bildwerk.weights.lora_place import LoraPlace, is_name, lora_names


@dataclass(frozen=True, slots=True)
class Loras:
    """Those of every model, by the model's id."""

    models_folder: Path

    def folder(self, model: str) -> Path:
        return self.models_folder / "loras" / model.replace("/", "--")

    def names(self, model: str) -> list[str]:
        """Sorted."""
        return lora_names(self.folder(model))

    def path(self, model: str, name: str) -> Path:
        """Where a LoRA of that name lies or would lie. Raises `SetupError` for what is no name."""
        try:
            place = LoraPlace.named(self.folder(model), name)
        except WeightsError as error:
            raise SetupError(str(error)) from error
        return place.folder / place.file_name

    def version(self, model: str, name: str) -> str | None:
        """What pins the file as it is now; None where none of that name can be read."""
        try:
            return LoraPlace.named(self.folder(model), name).version()
        except WeightsError:
            return None


def is_lora_name(text: str) -> bool:
    return is_name(text)


def pinned_file(path: Path) -> tuple[Path, str]:
    """An owner's own file, wherever it lies: where its path leads, and what pins it. Raises `SetupError`."""
    try:
        place = LoraPlace.of_file(path)
        return place.folder / place.file_name, place.version()
    except WeightsError as error:
        raise SetupError(str(error)) from error
