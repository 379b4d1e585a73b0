"""Following a prediction by server-sent events."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bildwerk.api.routes import ROUTES
from tests.inline_service import GOOD, InlineService, bearer, inline_service

PATH = "/api/v1/model/generateImage"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InlineService]:
    with inline_service(tmp_path_factory.mktemp("events"), step_seconds=0.05) as running:
        yield running


def submit(service: InlineService) -> str:
    return str(service.client.post(PATH, json=GOOD, headers=service.headers).json()["data"]["urls"]["events"])


def read_events(text: str) -> list[tuple[str, Any]]:
    """The id and the data of each event."""
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in block.splitlines())
        if "data" in fields:
            found.append((fields["id"], json.loads(fields["data"])))
    return found


def test_every_step_is_told_and_then_the_end(service: InlineService):
    answer = service.client.get(submit(service), headers=service.headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = read_events(answer.text)
    assert [event_id for event_id, _ in told][-1] == "end"
    assert [event_id for event_id, _ in told].count("end") == 1
    steps = [
        data["progress"]["done"] for _, data in told if data["progress"] and data["progress"]["stage"] == "denoise"
    ]
    assert steps == sorted(steps) != []
    assert told[-1][1]["status"] == "completed"
    assert told[-1][1]["outputs"][0].startswith("http")


def test_what_has_ended_is_told_at_once(service: InlineService):
    url = submit(service)
    service.client.get(url, headers=service.headers)
    (only,) = read_events(service.client.get(url, headers=service.headers).text)
    assert only[1]["status"] == "completed"


def test_whoever_has_seen_the_end_is_told_not_to_come_back(service: InlineService):
    answer = service.client.get(submit(service), headers={**service.headers, "Last-Event-ID": "end"})
    assert answer.status_code == 204


def test_anothers_events_are_answered_like_unknown_ones(service: InlineService):
    answer = service.client.get(submit(service), headers=bearer(service.new_key()[1]))
    assert answer.json()["error"]["code"] == "prediction_not_found"


def test_the_description_names_every_route(service: InlineService):
    document = service.client.get("/openapi.json").json()
    assert "post" in document["paths"][PATH]
    assert "FluxTinyInput" in document["components"]["schemas"]
    page = service.client.get("/docs")
    assert "/api/v1/model/history" in page.text
    for route in ROUTES:
        wanted = route.path if route.path == "/" else route.path.removesuffix("/")
        assert page.text.count(f"<code>{wanted}</code>") == 1
    assert page.text.count("Read a prediction") == 1
    assert page.text.count("/</code>") == 1  # the front alone: elsewhere a slash more is no other route to a reader
    assert "sha256-" in page.headers["content-security-policy"]
