"""The documents that every model publishes: an OpenAPI 3.1 schema, a readme and an example request.

Clients build forms from the schema and refuse what it does not list, so it comes from the very rows that the
validator reads.
"""

from collections.abc import Sequence
from typing import Any

from bildwerk.domain.catalog import ModelSpec
from bildwerk.domain.pricing import dollars
from bildwerk.schemas.image_parameters import image_parameters
from bildwerk.schemas.parameter import Parameter

EXAMPLE_PROMPT = "A beautiful landscape with mountains and lake"
SUBMIT_PATH = "/api/v1/model/generateImage"
POLL_PATH = "/api/v1/model/prediction/{prediction_id}"
MAX_UPLOAD_MB = 50


def schema_document(spec: ModelSpec, public_url: str, loras: Sequence[str] = ()) -> dict[str, Any]:
    """`loras` are the names of those that can be asked for now."""
    return {
        "openapi": "3.1.0",
        "info": {"title": spec.display_name, "version": "1.0.0", "description": spec.description},
        "servers": [{"url": public_url}],
        "security": [{"bearer": []}],
        "paths": {
            SUBMIT_PATH: {"post": submit_operation(spec)},
            POLL_PATH: {"get": poll_operation()},
        },
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Input": input_schema(spec, loras), "PredictionResponse": prediction_schema()},
        },
    }


def submit_operation(spec: ModelSpec) -> dict[str, Any]:
    return {
        "operationId": "generateImage",
        "summary": f"Submit a request to {spec.display_name}",
        "requestBody": {"required": True, "content": json_content("Input")},
        "responses": {
            "200": {"description": "The prediction was accepted", "content": json_content("PredictionResponse")}
        },
    }


def poll_operation() -> dict[str, Any]:
    path_id = {"name": "prediction_id", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "operationId": "getPrediction",
        "summary": "Read a prediction",
        "parameters": [path_id],
        "responses": {"200": {"description": "The prediction", "content": json_content("PredictionResponse")}},
    }


def json_content(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def input_schema(spec: ModelSpec, loras: Sequence[str] = ()) -> dict[str, Any]:
    model = {
        "type": "string",
        "title": "Model",
        "description": "The model's id.",
        "default": spec.id,
        "enum": [spec.id],
    }
    listed = [parameter for parameter in image_parameters(spec) if parameter.listed]
    properties = {"model": model} | {parameter.name: property_schema(parameter) for parameter in listed}
    if loras and "loras" in properties:
        properties["loras"]["items"]["properties"]["path"]["examples"] = list(loras)
    return {
        "type": "object",
        "title": "Input",
        "required": ["model", *(parameter.name for parameter in listed if parameter.required)],
        "properties": properties,
        "x-order-properties": list(properties),
    }


def property_schema(parameter: Parameter) -> dict[str, Any]:
    """One property, with only the keywords that say something."""
    stated = {
        "type": parameter.kind,
        "title": parameter.title,
        "description": parameter.description,
        "default": parameter.default,
        "format": parameter.format,
        "enum": list(parameter.options) or None,
        "examples": list(parameter.examples) or None,
        "minimum": parameter.minimum,
        "maximum": parameter.maximum,
        "minLength": parameter.min_length,
        "maxLength": parameter.max_length,
        "x-ui-component": parameter.component,
        "x-step": parameter.step,
        "x-accept": parameter.accept,
        "x-max-size-mb": MAX_UPLOAD_MB if parameter.accept else None,
        "maxItems": parameter.max_items,
        "items": items_schema(parameter.members) if parameter.members else None,
    }
    return {keyword: value for keyword, value in stated.items() if value is not None}


def items_schema(members: Sequence[Parameter]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [member.name for member in members if member.required],
        "properties": {member.name: property_schema(member) for member in members},
    }


def prediction_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "title": "PredictionResponse",
        "required": ["code", "message", "id", "status", "model", "data"],
        "properties": {
            "code": {"type": "integer", "description": "200."},
            "message": {"type": "string", "description": "Empty on success."},
            "data": data_schema(),
            **shared_properties(),
        },
    }


def data_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "description": "The prediction.",
        "required": ["id", "model", "status", "outputs", "error", "urls"],
        "properties": {
            **shared_properties(),
            "error": {"type": "string", "description": "Why it failed; empty otherwise."},
            "error_code": {"type": "integer", "description": "A number for the cause of a failure."},
            "urls": {"type": "object", "description": "Where to read it, cancel it and follow its events."},
            "has_nsfw_contents": {"type": ["array", "null"], "items": {"type": "boolean"}},
            "seed": {"type": "integer", "description": "The seed that was used."},
            "warnings": {
                "type": "array",
                "items": {"type": "string"},
                "description": "What could not be taken as sent.",
            },
            "price": {"type": "string", "description": "What it cost, in US dollars."},
        },
    }


def shared_properties() -> dict[str, Any]:
    return {
        "id": {"type": "string", "description": "The prediction's id."},
        "model": {"type": "string", "description": "The model's id."},
        "status": {"type": "string", "enum": ["created", "processing", "completed", "failed"]},
        "outputs": {"type": ["array", "null"], "items": {"type": "string"}, "description": "The pictures' URLs."},
        "metrics": {"type": "object", "description": "predict_time in seconds."},
        "created_at": {"type": "string", "format": "date-time"},
        "completed_at": {"type": "string", "format": "date-time"},
    }


def example_document(spec: ModelSpec) -> dict[str, Any]:
    """A request body that can be sent as it stands."""
    engine = spec.engine
    size = f"{engine.default_width}*{engine.default_height}"
    return {"model": spec.id, "prompt": EXAMPLE_PROMPT, "size": size, "steps": engine.default_steps, "seed": 42}


def readme_document(spec: ModelSpec, loras: Sequence[str] = ()) -> str:
    """`loras` are the names of those that can be asked for now."""
    engine = spec.engine
    return f"""# {spec.display_name}

{spec.description}

- Model: `{spec.id}`
- Made by: {spec.organization}
- License: {spec.license}
- Parameters: {spec.parameters:,}
- Price: ${dollars(spec.price_per_image)} a picture

It makes pictures of {engine.min_side} to {engine.max_side} pixels a side, in 1 to {engine.max_steps} steps, and reads
the first {engine.max_text_tokens} tokens of a prompt.

| parameter | legal values | default | |
|---|---|---|---|
{chr(10).join(readme_row(parameter) for parameter in image_parameters(spec) if parameter.listed)}
{loras_section(loras) if spec.max_loras else ""}"""


def loras_section(names: Sequence[str]) -> str:
    here = ", ".join(f"`{name}`" for name in names) or "none"
    return f"""
## LoRAs

`"loras": [{{"path": "NAME", "scale": 0.8}}]` applies LoRAs to one request. `path` is the name that the owner of this
server gave one; URLs are refused. Now here: {here}.
"""


def readme_row(parameter: Parameter) -> str:
    default = (
        "" if parameter.default is None else f"`{parameter.default}`".replace("True", "true").replace("False", "false")
    )
    return f"| `{parameter.name}` | {parameter.legal} | {default} | {parameter.description} |"
