"""What the engine will be asked for, as a prediction's row keeps it."""

import json
from typing import Any

from bildwerk.engine.request import GenerateRequest


def as_input(request: GenerateRequest) -> dict[str, Any]:
    """Everything but the id, which is the prediction's own."""
    return {name: getattr(request, name) for name in GenerateRequest.__slots__ if name != "id"}


def as_request(values: dict[str, Any], prediction_id: str) -> GenerateRequest:
    return GenerateRequest(**values, id=prediction_id)


def batch_key_text(model: str, request: GenerateRequest) -> str:
    """The batch key as the queue compares it."""
    return json.dumps([model, *request.batch_key])
