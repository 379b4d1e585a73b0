"""From the LoRAs that a request names to their files. Needs no torch."""

from collections.abc import Iterable
from pathlib import Path

from bildwerk.engine.request import EngineSpec, LoraChoice, LoraError
from bildwerk.weights.errors import WeightsError
from bildwerk.weights.lora_place import LoraPlace


def place_of(spec: EngineSpec, choice: LoraChoice) -> LoraPlace:
    """Raises `LoraError` for what is no name, and for a file whose path leads nowhere."""
    if choice.file is None and spec.loras_folder is None:
        raise LoraError(f"there is no LoRA {choice.name} for {spec.id}: it has no folder of LoRAs")
    try:
        if choice.file is not None:
            return LoraPlace.of_file(Path(choice.file))
        assert spec.loras_folder is not None
        return LoraPlace.named(spec.loras_folder, choice.name)
    except WeightsError as error:
        raise LoraError(str(error)) from error


def require_version(choice: LoraChoice, found: str) -> None:
    """Raises `LoraError` where the file is another one than that which was chosen."""
    if choice.version not in (None, found):
        raise LoraError(f"the LoRA {choice.name} was replaced after it was asked for: ask again")


def require_present(spec: EngineSpec, choices: Iterable[LoraChoice]) -> None:
    """Raises `LoraError` for the first of them whose file is not there, or not the one that was chosen."""
    for choice in choices:
        place = place_of(spec, choice)
        try:
            require_version(choice, place.version())
        except WeightsError as error:
            raise LoraError(str(error)) from error
