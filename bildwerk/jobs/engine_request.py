"""What the engine will be asked for, as a prediction's row keeps it."""

import json
from typing import Any

from bildwerk.engine.request import GenerateRequest, LoraChoice


def as_input(request: GenerateRequest) -> dict[str, Any]:
    """Everything but the id, which is the prediction's own."""
    loras = [{"name": lora.name, "scale": lora.scale, "version": lora.version} for lora in request.loras]
    return {name: getattr(request, name) for name in GenerateRequest.__slots__ if name != "id"} | {"loras": loras}


def as_request(values: dict[str, Any], prediction_id: str) -> GenerateRequest:
    """A row names LoRAs, never their files. Rows of older versions know none."""
    loras = [LoraChoice(lora["name"], lora["scale"], lora["version"]) for lora in values.get("loras", ())]
    return GenerateRequest(**{**values, "loras": tuple(loras)}, id=prediction_id)


def batch_key_text(model: str, request: GenerateRequest) -> str:
    """The batch key as the queue compares it."""
    return json.dumps([model, *request.batch_key])
