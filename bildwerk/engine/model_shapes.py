"""The four networks of a model's folder, by their numbers: from configurations and headers, without a weight."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bildwerk.engine.networks import ModelShapes
from bildwerk.weights.configs import read_autoencoder, read_clip, read_t5, read_transformer
from bildwerk.weights.gguf_header import BLOCKS
from bildwerk.weights.measured_params import measure_autoencoder, measure_clip, measure_t5, measure_transformer
from bildwerk.weights.packed import FP8_ENCODINGS
from bildwerk.weights.places import Place, find_places
from bildwerk.weights.signatures import Component


@dataclass(frozen=True, slots=True)
class StoredModel:
    """`weight_bytes` is what its weights take when they are loaded: packed ones as they are, others in one dtype."""

    shapes: ModelShapes
    weight_bytes: int


def read_stored_model(folder: Path, bytes_a_number: int) -> StoredModel:
    """bytes_a_number: of the dtype that floating point weights are loaded in. Raises `WeightsError`."""
    places = find_places(folder)
    return StoredModel(_shapes(places), sum(_weight_bytes(place, bytes_a_number) for place in places.values()))


def _weight_bytes(place: Place, bytes_a_number: int) -> int:
    shapes = place.files.shapes()
    return sum(_bytes(shapes[name], dtype, bytes_a_number) for name, dtype in place.files.dtypes().items())


def _bytes(shape: tuple[int, ...], dtype: str, bytes_a_number: int) -> int:
    if dtype in BLOCKS:
        values, size = BLOCKS[dtype]
        return math.prod(shape) // values * size
    return math.prod(shape) * (1 if dtype in FP8_ENCODINGS else bytes_a_number)


def _shapes(places: Mapping[Component, Place]) -> ModelShapes:
    transformer, t5 = places[Component.TRANSFORMER], places[Component.T5]
    clip, autoencoder = places[Component.CLIP], places[Component.AUTOENCODER]
    return ModelShapes(
        read_transformer(transformer.config) if transformer.config else measure_transformer(transformer.files),
        read_t5(t5.config) if t5.config else measure_t5(t5.files),
        read_clip(clip.config) if clip.config else measure_clip(clip.files),
        read_autoencoder(autoencoder.config) if autoencoder.config else measure_autoencoder(autoencoder.files),
    )
