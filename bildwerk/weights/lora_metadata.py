"""What newer versions of diffusers note in the header of a LoRA file, beside its tensors."""

import json
import math
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from bildwerk.weights.errors import WeightsError

ENTRY = "lora_adapter_metadata"
ALPHA = "transformer.lora_alpha"
UNUSUAL = ("transformer.alpha_pattern", "transformer.use_rslora", "transformer.use_dora")
"""Settings that change the arithmetic, and are not implemented."""


def read_alpha(path: Path) -> float | None:
    """The alpha of all changes in a file whose header was checked; None where nothing is noted.

    Raises `WeightsError` where something else is noted that would have to be honored.
    """
    settings = _settings(path)
    unusual = [name for name in UNUSUAL if settings.get(name)]
    if unusual:
        raise WeightsError(f"{path} needs {', '.join(unusual)}, which is not implemented")
    alpha = settings.get(ALPHA)
    if alpha is None:
        return None
    if type(alpha) not in {int, float} or not math.isfinite(alpha) or not alpha:
        raise WeightsError(f"{path}: {ALPHA} is {ascii(alpha)[:80]}, but must be a finite number other than 0")
    return float(alpha)


def _settings(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            text = (file.metadata() or {}).get(ENTRY, "{}")
        settings = json.loads(text)
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: {ENTRY} cannot be read: {error}") from error
    if not isinstance(settings, dict):
        raise WeightsError(f"{path}: {ENTRY} holds no JSON object")
    return settings
