"""The LoRAs that a request may name here, and those that it does name, pinned."""

from bildwerk.api.context import Context
from bildwerk.domain.catalog import ModelSpec
from bildwerk.domain.errors import InvalidParameter
from bildwerk.engine.request import LoraChoice
from bildwerk.schemas.inputs import ImageInput

MAX_NAMES_SHOWN = 6


def lora_names(context: Context, spec: ModelSpec) -> list[str]:
    return context.loras.names(serving_model(context, spec))


def serving_model(context: Context, spec: ModelSpec) -> str:
    """Whose LoRAs fit: those of the model that computes."""
    return context.stand_ins.get(spec.id, spec.id)


def chosen_loras(context: Context, spec: ModelSpec, wanted: ImageInput) -> tuple[LoraChoice, ...]:
    """Each as its file is now: the prediction fails where it has become another one by the time it runs.

    Raises `InvalidParameter` for one that is not here.
    """
    return tuple(
        LoraChoice(lora.name, lora.scale, pinned(context, spec, lora.name, f"loras[{index}].path"))
        for index, lora in enumerate(wanted.loras)
    )


def pinned(context: Context, spec: ModelSpec, name: str, place: str) -> str:
    version = context.loras.version(serving_model(context, spec), name)
    if version is None:
        legal = some_names(lora_names(context, spec), spec)
        raise InvalidParameter(f"{place} must be {legal}, not {name!a}", param="loras")
    return version


def some_names(names: list[str], spec: ModelSpec) -> str:
    if not names:
        return f"the name of a LoRA that this server has for {spec.id}, and it has none"
    rest = f" and {len(names) - MAX_NAMES_SHOWN} more" if len(names) > MAX_NAMES_SHOWN else ""
    return f"one of {', '.join(names[:MAX_NAMES_SHOWN])}{rest}"
