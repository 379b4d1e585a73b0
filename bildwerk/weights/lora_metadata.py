"""What newer versions of diffusers note in the header of a LoRA file, beside its tensors."""

import json
import math
from typing import Any

from bildwerk.weights.errors import WeightsError
from bildwerk.weights.lora_file import LoraFile

ENTRY = "lora_adapter_metadata"
ALPHA = "transformer.lora_alpha"
UNUSUAL = ("transformer.alpha_pattern", "transformer.use_rslora", "transformer.use_dora")
"""Settings that change the arithmetic, and are not implemented."""


def read_alpha(file: LoraFile) -> float | None:
    """The alpha of all changes in a file whose header was checked; None where nothing is noted.

    Raises `WeightsError` where something else is noted that would have to be honored.
    """
    settings = _settings(file)
    unusual = [name for name in UNUSUAL if settings.get(name)]
    if unusual:
        raise WeightsError(f"{file.title} needs {', '.join(unusual)}, which is not implemented")
    alpha = settings.get(ALPHA)
    if alpha is None:
        return None
    if type(alpha) not in {int, float} or not math.isfinite(alpha) or not alpha:
        raise WeightsError(f"{file.title}: {ALPHA} is {ascii(alpha)[:80]}, but must be a finite number other than 0")
    return float(alpha)


def _settings(file: LoraFile) -> dict[str, Any]:
    text = file.metadata.get(ENTRY, "{}")
    try:
        settings = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{file.title}: {ENTRY} cannot be read: {error}") from error
    if not isinstance(settings, dict):
        raise WeightsError(f"{file.title}: {ENTRY} holds no JSON object")
    return settings
