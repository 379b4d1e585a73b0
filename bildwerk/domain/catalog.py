"""The catalog: every model that can be asked for, one TOML file each in the folder `catalog` beside this module.

A spec says what a model is called, what it costs, what a request may ask of it, and, in its `[engine]` table, the
numbers that the engine is given.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_type_hints

CATALOG_FOLDER = Path(__file__).with_suffix("")


@dataclass(frozen=True, slots=True)
class EngineNumbers:
    """What the engine has to know of a model: the fields of `engine.request.EngineSpec` but its id and folder."""

    default_width: int
    default_height: int
    default_steps: int
    max_steps: int
    max_text_tokens: int
    size_multiple: int
    min_side: int
    max_side: int
    max_pixels: int
    dtype: str
    max_native_pixels: int | None = None
    default_guidance: float | None = None


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One entry of the catalog. Prices are integer micro-dollars; `embedded` weights ship with the package.

    `max_input_images` is how many pictures a request may start from; 0 for a model that only reads text. `max_loras`
    is how many LoRAs one may name, `files_bytes` what a model's files take as its source has them.
    """

    id: str
    display_name: str
    type: str
    description: str
    organization: str
    license: str
    price_per_image: int
    max_prompt_characters: int
    max_images: int
    parameters: int
    embedded: bool
    source: str
    engine: EngineNumbers
    max_input_images: int = 0
    max_loras: int = 0
    files_bytes: int = 0

    @property
    def short_name(self) -> str:
        return self.id.rpartition("/")[2]

    def answers_to(self, name: str) -> bool:
        return name in (self.id, self.short_name)


Catalog = Mapping[str, ModelSpec]


def load_catalog(folder: Path = CATALOG_FOLDER) -> Catalog:
    """Read every spec in `folder`, by id.

    Raises `ValueError` that names the file for a spec that is not TOML, or has missing, unknown, mistyped or clashing
    entries.
    """
    specs = [read_spec(path) for path in sorted(folder.glob("*.toml"))]
    names = [name for spec in specs for name in (spec.id, spec.short_name)]
    clashing = sorted({name for name in names if names.count(name) > 1})
    if clashing:
        raise ValueError(f"{folder}: more than one model answers to {', '.join(clashing)}")
    return {spec.id: spec for spec in specs}


def read_spec(path: Path) -> ModelSpec:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        numbers = EngineNumbers(**table.get("engine", {}))
        spec = ModelSpec(**{**table, "engine": numbers})
        check_types(spec)
        check_types(numbers)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a model spec: {error}") from error
    return spec


def check_types(spec: ModelSpec | EngineNumbers) -> None:
    """Raises `TypeError` that names the entry. True and false are no numbers, though Python has them so."""
    for name, kind in get_type_hints(type(spec)).items():
        value = getattr(spec, name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise TypeError(f"{name} is {value!r}, but must be of type {getattr(kind, '__name__', kind)}")


def find_model(catalog: Catalog, name: str) -> ModelSpec | None:
    """The model with this id or short name."""
    return next((spec for spec in catalog.values() if spec.answers_to(name)), None)
