"""`--lora NAME_OR_PATH[:WEIGHT]` as it was typed becomes a choice that can be used."""

from collections.abc import Sequence
from pathlib import Path

from bildwerk.checkpoints.loras import Loras, pinned_file
from bildwerk.cli.failure import CommandError, UsageError
from bildwerk.cli.model_files import models_folder
from bildwerk.domain.catalog import ModelSpec
from bildwerk.engine.request import MAX_LORA_SCALE, LoraChoice

SUFFIX = ".safetensors"


def chosen_loras(model: ModelSpec, typed: Sequence[str]) -> tuple[LoraChoice, ...]:
    """Raises `CommandError` or `SetupError` for one that is not there, and for a weight that is no number."""
    return tuple(chosen(model, *split_weight(text)) for text in typed)


def split_weight(text: str) -> tuple[str, float]:
    """`soft:0.5` -> soft, 0.5. The weight is 1 where none is given; a file may have a colon in its name."""
    what, colon, weight = text.rpartition(":")
    if not colon or text.endswith(SUFFIX):
        return text, 1.0
    try:
        return what, float(weight)
    except ValueError:
        limits = f"{-MAX_LORA_SCALE:g} to {MAX_LORA_SCALE:g}"
        raise UsageError(f"--lora {text[:200]!r}: after the colon there must be a number from {limits}") from None


def chosen(model: ModelSpec, what: str, scale: float) -> LoraChoice:
    if "/" in what or what.endswith(SUFFIX):
        file, pin = pinned_file(Path(what))
        return LoraChoice(Path(what).stem, scale, pin, str(file))
    loras = Loras(models_folder())
    version = loras.version(model.id, what)
    if version is None:
        there = ", ".join(loras.names(model.id)) or "none"
        raise CommandError(
            f"there is no LoRA {what[:100]!r} for {model.id}; there are: {there}. "
            f"For a file, give a path with a / in it or one that ends in {SUFFIX}"
        )
    return LoraChoice(what, scale, version)
