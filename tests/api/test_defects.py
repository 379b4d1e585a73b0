"""A defect of ours, planted: it is logged for us and says nothing of itself to clients, in their own envelope."""

from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response

from bildwerk.api import application
from bildwerk.api.route import Contract, Route
from tests.inline_service import inline_service

PATHS = {"ours": "/api/v1/planted", "OpenAI's": "/v1/planted"}


async def fail(_request: Request) -> Response:
    raise ZeroDivisionError("a secret of ours")


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
def test_a_defect_is_answered_in_an_envelope(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    planted = Route("GET", path, fail, None, "fails", Contract())
    monkeypatch.setattr(application, "ROUTES", (*application.ROUTES, planted))
    with inline_service(tmp_path) as service:
        answer = service.client.get(path, headers=service.headers)
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert answer.headers["X-Request-ID"]
    assert "secret" not in answer.text
