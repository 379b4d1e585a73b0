"""The catalog as clients see it, and where the documents of each model lie."""

import uuid
from collections.abc import Iterable
from typing import Any

from bildwerk.domain.catalog import ModelSpec
from bildwerk.domain.pricing import dollars


def slug(model: str) -> str:
    """The model's id as a file name: `black-forest-labs-flux-schnell`."""
    return model.replace("/", "-")


def example_slug(model: str) -> str:
    return slug(model).replace(".", "-")


def catalog_envelope(specs: Iterable[ModelSpec], public_url: str) -> dict[str, Any]:
    """The answer to `GET /api/v1/models`. Its `code` is a text, unlike everywhere else."""
    return {"code": "200", "message": "", "data": [catalog_entry(spec, public_url) for spec in specs]}


def catalog_entry(spec: ModelSpec, public_url: str) -> dict[str, Any]:
    takes_pictures = spec.max_input_images > 0
    return {
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, spec.id)),
        "model": spec.id,
        "type": spec.type,
        "displayName": spec.display_name,
        "profile": spec.description,
        "avatar": "",
        **document_urls(spec, public_url),
        "tags": [spec.license, *(["embedded"] if spec.embedded else [])],
        "categories": ["TEXT-TO-IMAGE", *(["IMAGE-TO-IMAGE"] if takes_pictures else [])],
        "organization": spec.organization,
        "display_console": True,
        "price": {"discount": "100", "actual": price_side(spec), "origin": price_side(spec)},
        "supported_protocols": [],
        "input_modalities": ["text", *(["image"] if takes_pictures else [])],
        "output_modalities": ["image"],
        "totalParameters": str(spec.parameters),
    }


def document_urls(spec: ModelSpec, public_url: str) -> dict[str, str]:
    return {
        "schema": f"{public_url}/model/schema/{slug(spec.id)}.json",
        "readme": f"{public_url}/model/readme/{slug(spec.id)}.md",
        "example": f"{public_url}/model/example/{example_slug(spec.id)}.json",
    }


def price_side(spec: ModelSpec) -> dict[str, str]:
    return {"base_price": dollars(spec.price_per_image), "unit": "image"}
