"""Whether a LoRA file fits a model, told from the model's numbers alone: none of its weights are loaded."""

from dataclasses import dataclass
from pathlib import Path

import torch

from bildwerk.engine.request import LoraError
from bildwerk.flux.transformer import Flux
from bildwerk.weights.configs import read_transformer
from bildwerk.weights.errors import WeightsError
from bildwerk.weights.lora import as_lora
from bildwerk.weights.lora_file import LoraFile
from bildwerk.weights.lora_place import LoraPlace
from bildwerk.weights.measured_params import measure_transformer
from bildwerk.weights.places import find_places
from bildwerk.weights.signatures import Component


@dataclass(frozen=True, slots=True)
class LoraFacts:
    """How many linear layers are changed, and the least and the greatest rank of the changes."""

    layers: int
    ranks: tuple[int, int]


def read_file(path: Path) -> LoraFile:
    """The whole content of a file, wherever it lies. Raises `LoraError` for what is no safetensors file."""
    try:
        return LoraFile.read(LoraPlace.of_file(path))
    except WeightsError as error:
        raise LoraError(str(error)) from error


def check_fits(file: LoraFile, model_folder: Path) -> LoraFacts:
    """Raises `LoraError` that says what the file is for and what would fit."""
    try:
        lora = as_lora(file, empty_transformer(model_folder), torch.float32)
    except WeightsError as error:
        raise LoraError(str(error)) from error
    ranks = [len(patch.down) for patches in lora.patches.values() for patch in patches]
    return LoraFacts(len(lora.patches), (min(ranks), max(ranks)))


def empty_transformer(model_folder: Path) -> Flux:
    """Without memory behind its weights. Raises `WeightsError`."""
    place = find_places(model_folder)[Component.TRANSFORMER]
    params = read_transformer(place.config) if place.config else measure_transformer(place.files)
    with torch.device("meta"):
        return Flux(params)
