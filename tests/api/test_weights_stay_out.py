"""Weights come to a server by its operator's command line alone: nothing that is sent over HTTP can bring any."""

import ast
import re
from pathlib import Path

import pytest

import bildwerk
from bildwerk.api.routes import ROUTES
from bildwerk.domain.catalog import load_catalog
from bildwerk.schemas.image_parameters import image_parameters

PACKAGE = Path(bildwerk.__file__).parent
ROUTES_THAT_TAKE_A_BODY = {
    "/api/v1/model/generateImage",
    "/api/v1/model/generateVideo",
    "/api/v1/model/generateAudio",
    "/api/v1/model/prediction/{prediction_id}/cancel",
    "/api/v1/model/uploadMedia",
    "/api/v1/model/calculate",
}
"""Whoever adds one says here that it takes no weights, and shows it below."""
ABOUT_WEIGHTS = re.compile(r"weight|checkpoint|lora|adapter|safetensors|gguf|repo|pull|download|import|revision")
NAMED_ONLY = {"loras"}
"""Take names of what the operator has put there; that they take no URL and no path, `test_loras` shows."""
MOVERS = {"adoption", "fetching", "hub", "pull"}


def test_every_route_that_takes_anything_is_known() -> None:
    assert {route.path for route in ROUTES if route.method not in ("GET", "HEAD")} == ROUTES_THAT_TAKE_A_BODY


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_no_route_is_about_weights(route) -> None:
    assert not ABOUT_WEIGHTS.search(f"{route.path} {route.summary} {route.handler.__name__}".lower())


@pytest.mark.parametrize("model", load_catalog().values(), ids=lambda model: model.id)
def test_no_parameter_of_a_prediction_names_weights(model) -> None:
    about_weights = {each.name for each in image_parameters(model) if ABOUT_WEIGHTS.search(each.name.lower())}
    assert about_weights <= NAMED_ONLY


@pytest.mark.parametrize("room", ["api", "jobs", "fleet", "schemas", "store", "media", "engine"])
def test_no_room_of_the_service_can_bring_weights(room: str) -> None:
    imported = {name for path in (PACKAGE / room).rglob("*.py") for name in imports(path)}
    assert {f"bildwerk.checkpoints.{mover}" for mover in MOVERS} & imported == set()
    assert "httpx2" not in imported


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found
