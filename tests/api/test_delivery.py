"""How an answer is delivered: at once or waited for, by URL or in the body, once or again under the same key."""

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from httpx import Response

from bildwerk.api import waiting
from bildwerk.api.context import Context
from bildwerk.domain.prediction import Prediction
from bildwerk.settings import Limits, Timing
from tests.inline_service import GOOD, InlineService, inline_service

P = "/api/v1/model"
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InlineService]:
    with inline_service(tmp_path_factory.mktemp("delivery")) as running:
        yield running


@pytest.fixture(scope="module")
def slow_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InlineService]:
    """A step takes longer than anybody here waits."""
    timing = replace(Timing(), poll=0.05, sync_wait=0.2, drain=0.0)
    with inline_service(tmp_path_factory.mktemp("slow"), timing=timing, step_seconds=1.0) as running:
        yield running


def submit(service: InlineService, headers: dict[str, str] | None = None, **values: Any) -> Response:
    sent = {**service.headers, **(headers or {})}
    return service.client.post(f"{P}/generateImage", json={**GOOD, **values}, headers=sent)


def poll(service: InlineService, prediction_id: str, query: str = "", **headers: str) -> Response:
    url = f"{P}/prediction/{prediction_id}{query}"
    return service.client.get(url, headers={**service.headers, **headers})


def test_a_running_answer_has_nothing_that_clients_take_for_an_end(slow_service: InlineService):
    body = submit(slow_service).json()
    assert (body["code"], body["status"], body["message"], body["outputs"]) == (200, "processing", "", None)
    assert "request_id" not in body
    assert "url" not in body
    assert body["data"]["error"] == ""
    assert body["id"] == body["predictionId"] == body["data"]["id"]


def test_sync_mode_answers_with_the_end(service: InlineService):
    body = submit(service, enable_sync_mode=True).json()
    assert body["status"] == "completed"
    assert body["data"]["price"] == "0.0001"
    assert service.client.get(body["outputs"][0]).content.startswith(PNG)


def test_who_waited_is_told_what_a_poll_tells_and_reads_it_but_once(
    service: InlineService, monkeypatch: pytest.MonkeyPatch
):
    reads, read = [], waiting.read

    async def counted(context: Context, account_id: str, prediction_id: str) -> Prediction:
        reads.append(await read(context, account_id, prediction_id))
        return reads[-1]

    monkeypatch.setattr(waiting, "read", counted)
    waited = submit(service, enable_sync_mode=True, num_images=2, nonsense=1)
    assert len(reads) == 1
    assert waited.json() == poll(service, waited.json()["id"]).json()


def test_sync_mode_whose_wait_runs_out_answers_as_running_and_the_work_goes_on(slow_service: InlineService):
    answer = submit(slow_service, enable_sync_mode=True)
    assert (answer.status_code, answer.json()["status"]) == (200, "processing")
    slow_service.client.post(f"{P}/prediction/{answer.json()['id']}/cancel", headers=slow_service.headers)


def test_a_preference_to_wait_is_applied_and_said(service: InlineService):
    answer = submit(service, {"Prefer": "respond-async, wait=30"})
    assert answer.json()["status"] == "completed"
    assert answer.headers["Preference-Applied"] == "wait=30"


def test_base64_output_is_in_the_body(service: InlineService):
    body = submit(service, enable_sync_mode=True, enable_base64_output=True, num_images=2).json()
    assert len(body["outputs"]) == 2
    for output in body["outputs"]:
        head, _, data = output.partition(",")
        assert head == "data:image/png;base64"
        assert base64.b64decode(data).startswith(PNG)


def test_a_long_poll_answers_at_the_end(service: InlineService):
    body = poll(service, submit(service).json()["id"], "?wait=30").json()
    assert body["status"] == "completed"


@pytest.mark.parametrize("wait", ["61", "-1", "x", "1.5"])
def test_a_wait_outside_the_range_is_refused_by_name(service: InlineService, wait: str):
    answer = poll(service, submit(service).json()["id"], f"?wait={wait}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "wait")


def test_an_unchanged_answer_is_not_sent_again(service: InlineService):
    prediction = submit(service, enable_sync_mode=True).json()["id"]
    first = poll(service, prediction)
    again = poll(service, prediction, **{"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert poll(service, prediction, **{"If-None-Match": '"another"'}).status_code == 200


def test_a_replay_has_the_very_same_answer_even_after_the_end(service: InlineService):
    key = {"Idempotency-Key": "replay"}
    first = submit(service, key, steps=20)
    poll(service, first.json()["id"], "?wait=30")
    assert submit(service, key, steps=20).content == first.content


def test_the_same_key_with_another_body_is_refused(service: InlineService):
    key = {"Idempotency-Key": "mismatch"}
    submit(service, key)
    answer = submit(service, key, seed=5)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "idempotency_mismatch")


BAD_HEADERS = [
    ("Idempotency-Key", ""),
    ("Idempotency-Key", "x" * 256),
    ("Idempotency-Key", "tab\there"),
    ("Prefer", "wait=61"),
    ("Prefer", "wait=x"),
    ("Cancel-After", "0s"),
    ("Cancel-After", "soon"),
    ("Cancel-After", "25h"),
    ("X-AtlasCloud-Object-Expiration-Hours", "0"),
    ("X-AtlasCloud-Object-Expiration-Hours", "337"),
    ("X-AtlasCloud-Request-Retention-Hours", "-1"),
    ("X-AtlasCloud-Request-Retention-Hours", "1.5"),
]


@pytest.mark.parametrize(("name", "value"), BAD_HEADERS)
def test_a_header_outside_its_range_is_refused_by_name(service: InlineService, name: str, value: str):
    answer = submit(service, {name: value})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_header")
    assert name in answer.json()["error"]["message"]


GOOD_HEADERS = [("Cancel-After", "1m"), ("Cancel-After", "1m30s"), ("Cancel-After", "90"), ("Cancel-After", "24h")]


@pytest.mark.parametrize(("name", "value"), GOOD_HEADERS)
def test_a_header_within_its_range_is_taken(service: InlineService, name: str, value: str):
    assert submit(service, {name: value}).status_code == 200


def test_cancel_after_ends_what_nobody_waits_for_any_more(slow_service: InlineService):
    prediction = submit(slow_service, {"Cancel-After": "1s"}).json()["id"]
    body = poll(slow_service, prediction, "?wait=30").json()
    assert (body["status"], body["data"]["error_code"], body["data"]["price"]) == ("failed", 3002, "0")


def test_canceling_a_running_prediction_ends_it_free_of_charge(slow_service: InlineService):
    prediction = submit(slow_service, steps=4).json()["id"]
    answer = slow_service.client.post(f"{P}/prediction/{prediction}/cancel", headers=slow_service.headers)
    assert answer.status_code == 200
    body = poll(slow_service, prediction, "?wait=30").json()
    assert (body["status"], body["data"]["error"], body["data"]["price"]) == ("failed", "canceled", "0")


def test_outputs_live_as_long_as_the_header_says(service: InlineService):
    hours = {"X-AtlasCloud-Object-Expiration-Hours": "1"}
    url = submit(service, hours, enable_sync_mode=True).json()["outputs"][0]
    seconds = int(service.client.get(url).headers["Cache-Control"].partition("max-age=")[2].partition(",")[0])
    assert 3_500 < seconds <= 3_600


@pytest.mark.parametrize("kind", ["generateVideo", "generateAudio"])
def test_kinds_that_are_not_served_have_no_such_model(service: InlineService, kind: str):
    answer = service.client.post(f"{P}/{kind}", json=GOOD, headers=service.headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert answer.json()["message"] == (
        f"model not found: '{GOOD['model']}' is no {kind.removeprefix('generate').lower()} model of this server, "
        "which has none"
    )


@pytest.mark.parametrize("path", ["generateImage", "calculate"])
def test_a_model_that_is_not_there_is_answered_with_those_that_are(service: InlineService, path: str):
    body = GOOD | {"model": "bildwerk/flux-tin"}
    answer = service.client.post(f"{P}/{path}", json=body, headers=service.headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    for text in ("model not found: 'bildwerk/flux-tin' is no", *service.service.context.catalog):
        assert text in answer.json()["message"]


def test_a_name_that_is_no_models_is_not_repeated_at_length(service: InlineService):
    answer = service.client.post(f"{P}/calculate", json=GOOD | {"model": "x" * 150})
    assert answer.status_code == 404
    assert f"'{'x' * 100}'" in answer.json()["message"]


def test_a_document_of_a_model_that_is_not_there_is_answered_with_those_that_are(service: InlineService):
    answer = service.client.get("/model/schema/flux.json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert "bildwerk-flux-tiny" in answer.json()["message"]


def test_a_model_without_its_weights_says_how_to_get_them(service: InlineService):
    answer = submit(service, model="black-forest-labs/flux-schnell")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_unavailable")
    assert "`bildwerk models pull flux-schnell`" in answer.json()["message"]
    assert str(service.folder.path) not in answer.text
    assert int(answer.headers["Retry-After"]) > 0


def test_more_submits_than_a_minute_allows_are_refused_and_told_when_to_return(tmp_path: Path):
    with inline_service(tmp_path / "data", limits=replace(Limits(), submits_per_minute=3)) as service:
        for left in (2, 1, 0):
            assert submit(service).headers["RateLimit"].startswith(f'"submits";r={left};')
        answer = submit(service)
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limited")
        assert 0 < int(answer.headers["Retry-After"]) <= 20
        assert answer.headers["RateLimit-Policy"] == '"submits";q=3;w=60'
        assert service.client.get(f"{P}/history", headers=service.headers).status_code == 200


def test_a_full_queue_refuses_and_tells_when_to_return(tmp_path: Path):
    timing = replace(Timing(), poll=0.05, drain=0.0)
    limits = replace(Limits(), queued_per_account=2)
    with inline_service(tmp_path / "data", limits=limits, timing=timing, step_seconds=1.0) as service:
        answers = [submit(service, seed=seed, steps=1 + seed % 4) for seed in range(5)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused
        assert {answer.json()["error"]["code"] for answer in refused} == {"queue_full"}
        assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)


def test_a_bad_checksum_costs_no_look_up(service: InlineService, monkeypatch: pytest.MonkeyPatch):
    looked_up = []
    monkeypatch.setattr("bildwerk.store.accounts.find_key", lambda *arguments: looked_up.append(arguments))
    wrong = service.key[:-1] + ("0" if service.key[-1] != "0" else "1")
    assert service.client.get(f"{P}/history", headers={"Authorization": f"Bearer {wrong}"}).status_code == 401
    assert looked_up == []


@pytest.mark.parametrize("name", ["X-API-Key", "Api-Key", "X-Authorization", "Cookie"])
def test_a_key_in_another_header_is_not_read(service: InlineService, name: str):
    answer = service.client.get(f"{P}/history", headers={name: f"Bearer {service.key}"})
    assert answer.status_code == 401


def test_a_price_is_told_without_a_key_and_without_running(service: InlineService):
    answer = service.client.post(f"{P}/calculate", json={"model": "black-forest-labs/flux-schnell", "num_images": 4})
    assert answer.json()["data"] == {"price": "0.012", "origin_price": "0.012", "estimated": False}
