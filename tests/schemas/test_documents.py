from dataclasses import replace
from typing import Any

import pytest

from bildwerk.domain.catalog import ModelSpec, load_catalog
from bildwerk.domain.errors import InvalidParameter
from bildwerk.schemas.catalog_envelopes import catalog_envelope
from bildwerk.schemas.documents import example_document, input_schema, readme_document, schema_document
from bildwerk.schemas.inputs import read_image_input

SPECS = list(load_catalog().values())
SCHNELL = load_catalog()["black-forest-labs/flux-schnell"]
PUBLIC_URL = "http://127.0.0.1:8000"
LISTED = [
    "prompt",
    "size",
    "width",
    "height",
    "num_images",
    "steps",
    "seed",
    "loras",
    "output_format",
    "enable_base64_output",
    "enable_sync_mode",
    "enable_safety_checker",
]
TYPES: dict[str, type | tuple[type, ...]] = {"string": str, "integer": int, "boolean": bool, "number": (int, float)}


@pytest.fixture(params=SPECS, ids=lambda spec: spec.short_name)
def spec(request: pytest.FixtureRequest) -> ModelSpec:
    found: ModelSpec = request.param
    return found


def test_the_schema_lists_every_parameter_in_order(spec: ModelSpec) -> None:
    schema = input_schema(spec)
    assert schema["x-order-properties"] == list(schema["properties"]) == ["model", *LISTED]
    assert schema["required"] == ["model", "prompt"]


def test_pictures_are_listed_for_a_model_that_takes_them() -> None:
    properties = input_schema(replace(SCHNELL, max_input_images=1))["properties"]
    assert {"image", "mask_image", "strength"} <= set(properties)
    assert properties["image"]["x-ui-component"] == "uploader"
    assert properties["image"]["type"] == "string"


def test_the_names_of_the_endpoints_come_with_the_submit_first(spec: ModelSpec) -> None:
    document = schema_document(spec, PUBLIC_URL)
    first, second = document["paths"]
    assert (first, second) == ("/api/v1/model/generateImage", "/api/v1/model/prediction/{prediction_id}")
    assert document["servers"] == [{"url": PUBLIC_URL}]
    assert document["openapi"].startswith("3.1")


def test_every_default_is_of_its_type_and_in_its_range(spec: ModelSpec) -> None:
    for name, schema in input_schema(spec)["properties"].items():
        if "default" in schema:
            assert isinstance(schema["default"], TYPES[schema["type"]]), name
            assert schema["default"] in schema.get("enum", [schema["default"]])


def limits(spec: ModelSpec) -> list[tuple[str, Any, bool]]:
    """Values at and beyond the published limits, and whether they are legal."""
    cases: list[tuple[str, Any, bool]] = []
    for name, schema in input_schema(spec)["properties"].items():
        if schema["type"] == "integer":
            cases += [(name, schema["minimum"], True), (name, schema["maximum"], True)]
            cases += [(name, schema["minimum"] - 1, False), (name, schema["maximum"] + 1, False)]
        if name != "model":
            cases += [(name, value, True) for value in schema.get("enum", ())]
    return [*cases, ("prompt", "x" * 10_000, True), ("prompt", "x" * 10_001, False)]


def test_the_published_limits_are_those_of_the_validator(spec: ModelSpec) -> None:
    for name, value, legal in limits(spec):
        accepted = True
        try:
            read_image_input(spec, {"prompt": "a lake", name: value})
        except InvalidParameter:
            accepted = False
        assert accepted is legal, (name, value)


def test_a_request_of_all_defaults_is_accepted_without_a_warning(spec: ModelSpec) -> None:
    defaults = {name: s["default"] for name, s in input_schema(spec)["properties"].items() if "default" in s}
    _, warnings = read_image_input(spec, {"prompt": "a lake"} | defaults)
    assert warnings == ()


def test_the_example_is_a_valid_request(spec: ModelSpec) -> None:
    example = example_document(spec)
    result, warnings = read_image_input(spec, example)
    assert warnings == ()
    assert example["model"] == result.model == spec.id


def test_the_readme_names_every_listed_parameter_and_the_price() -> None:
    text = readme_document(SCHNELL)
    assert all(f"| `{name}` |" in text for name in LISTED)
    assert "$0.003 a picture" in text


def test_the_catalog_has_every_field_that_clients_read() -> None:
    envelope = catalog_envelope(SPECS, PUBLIC_URL)
    assert envelope["code"] == "200"
    entry = next(entry for entry in envelope["data"] if entry["model"] == SCHNELL.id)
    for field in [
        "uuid",
        "model",
        "type",
        "displayName",
        "profile",
        "schema",
        "readme",
        "example",
        "tags",
        "categories",
        "organization",
    ]:
        assert entry[field], field
    assert entry["price"] == {
        "discount": "100",
        "actual": {"base_price": "0.003", "unit": "image"},
        "origin": {"base_price": "0.003", "unit": "image"},
    }
    assert entry["schema"] == f"{PUBLIC_URL}/model/schema/black-forest-labs-flux-schnell.json"
    assert entry["display_console"] is True
    assert (entry["type"], entry["categories"]) == ("Image", ["TEXT-TO-IMAGE"])


def test_the_same_model_keeps_its_uuid() -> None:
    first, second = (catalog_envelope([SCHNELL], PUBLIC_URL)["data"][0]["uuid"] for _ in range(2))
    assert first == second
