from dataclasses import replace
from typing import Any

import pytest

from bildwerk.api.routes import ROUTES
from bildwerk.domain.account import Account, Balance
from bildwerk.domain.catalog import load_catalog
from bildwerk.domain.errors import InsufficientBalance, InvalidParameter, QueueFull, StorageUnavailable, Unauthorized
from bildwerk.domain.prediction import FailureCode, Prediction, Status
from bildwerk.schemas.account_envelopes import (
    balance_envelope,
    bucket,
    bucket_list_envelope,
    price_envelope,
    upload_envelope,
)
from bildwerk.schemas.catalog_envelopes import catalog_envelope
from bildwerk.schemas.error_envelopes import error_envelope, openai_error_envelope
from bildwerk.schemas.prediction_envelopes import (
    WIRE_STATUSES,
    history_envelope,
    prediction_envelope,
    statuses_on_the_wire,
)

URL = "http://127.0.0.1:8000"
PICTURE = f"{URL}/files/x/0.png"
START = 1_767_225_600_000  # 2026-01-01T00:00:00Z

QUEUED = Prediction(
    id="pred_1",
    account_id="acc_1",
    model="black-forest-labs/flux-schnell",
    status=Status.QUEUED,
    claim_no=0,
    attempts=0,
    cancel_requested=False,
    price=3000,
    images=1,
    input={"seed": 42},
    request_body='{"model":"black-forest-labs/flux-schnell"}',
    as_base64=False,
    warnings=("steps 20 are run as 4",),
    submit_warnings=("steps 20 are run as 4",),
    error_code=None,
    error="",
    timings={},
    created_at=START,
    started_at=None,
    finished_at=None,
    outputs_expire_at=None,
)
SUCCEEDED = replace(
    QUEUED,
    status=Status.SUCCEEDED,
    started_at=START + 12,
    finished_at=START + 842,
    timings={"encode": 0.1, "denoise": 0.64},
)
FAILED = replace(
    SUCCEEDED, status=Status.FAILED, error_code=FailureCode.OUT_OF_MEMORY, error="the picture did not fit into memory"
)
CANCELED = replace(QUEUED, status=Status.CANCELED, error_code=FailureCode.CANCELED, finished_at=START + 5)


def strings_called_url(value: Any) -> list[str]:
    if isinstance(value, list):
        return [found for item in value for found in strings_called_url(item)]
    if not isinstance(value, dict):
        return []
    here = [member for key, member in value.items() if key == "url" and isinstance(member, str)]
    return here + [found for member in value.values() for found in strings_called_url(member)]


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING])
def test_a_running_prediction_has_nothing_that_looks_like_an_answer(status: Status) -> None:
    body = prediction_envelope(replace(QUEUED, status=status), URL, [PICTURE])
    assert (body["status"], body["data"]["status"]) == ("processing", "processing")
    assert (body["outputs"], body["data"]["outputs"]) == (None, None)
    assert "request_id" not in body
    assert (body["message"], body["data"]["error"]) == ("", "")
    assert strings_called_url(body) == []
    assert "completed_at" not in body["data"]


def test_a_submit_carries_the_id_wherever_clients_look_for_it() -> None:
    body = prediction_envelope(QUEUED, URL)
    assert body["code"] == 200
    assert body["id"] == body["predictionId"] == body["data"]["id"] == "pred_1"
    assert body["data"]["urls"]["get"] == f"{URL}/api/v1/model/prediction/pred_1"
    assert body["created_at"] == body["data"]["created_at"] == "2026-01-01T00:00:00Z"
    assert body["data"]["has_nsfw_contents"] is None


def test_a_completed_prediction_is_told_in_full() -> None:
    body = prediction_envelope(SUCCEEDED, URL, [PICTURE])
    data = body["data"]
    assert body["status"] == data["status"] == "completed"
    assert body["outputs"] == data["outputs"] == [PICTURE]
    assert (data["price"], data["seed"], data["warnings"]) == ("0.003", 42, ["steps 20 are run as 4"])
    assert data["metrics"] == body["metrics"] == {"predict_time": 0.83}
    assert data["timings"] == {"queue": 12, "inference": 830, "encode": 100, "denoise": 640}
    assert data["executionTime"] == 842
    assert body["completed_at"] == data["completed_at"] == "2026-01-01T00:00:00Z"
    assert "error_code" not in data


def test_a_failed_prediction_says_why_and_costs_nothing() -> None:
    body = prediction_envelope(FAILED, URL, [PICTURE])
    data = body["data"]
    assert (body["code"], data["status"], data["outputs"]) == (200, "failed", None)
    assert (data["error"], data["error_code"], data["price"]) == ("the picture did not fit into memory", 2001, "0")


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELED, Status.EXPIRED])
def test_whatever_ended_without_a_picture_is_failed_with_a_text(status: Status) -> None:
    data = prediction_envelope(replace(CANCELED, status=status, error=""), URL)["data"]
    assert data["status"] == "failed"
    assert isinstance(data["error"], str)
    assert data["error"]


def test_the_wire_knows_no_status_that_clients_wait_on_for_ever() -> None:
    assert set(WIRE_STATUSES) == set(Status)
    assert set(WIRE_STATUSES.values()) == {"processing", "completed", "failed"}


def test_a_word_of_the_wire_names_statuses_of_ours() -> None:
    assert statuses_on_the_wire("failed") == {Status.FAILED, Status.CANCELED, Status.EXPIRED}
    assert statuses_on_the_wire("timeout") == frozenset()


def test_the_history_is_a_page_of_predictions() -> None:
    body = history_envelope([(SUCCEEDED, [PICTURE]), (FAILED, [])], URL, page=2, size=10, total=12)
    first, second = body["data"]["items"]
    assert (body["data"]["pageNo"], body["data"]["pageSize"], body["data"]["total"]) == (2, 10, 12)
    assert (first["ID"], first["createdAt"], first["status"]) == ("pred_1", START // 1000, "completed")
    assert first["result"]["outputs"] == [PICTURE]
    assert first["requestBody"] == '{"model":"black-forest-labs/flux-schnell"}'
    assert second["result"]["error"]


def test_an_error_is_told_in_both_dialects() -> None:
    error = InvalidParameter("width must be an integer from 64 to 2048, not 0", param="width")
    detail = {
        "message": "width must be an integer from 64 to 2048, not 0",
        "type": "invalid_request_error",
        "code": "invalid_parameter",
        "param": "width",
    }
    assert error_envelope(400, error, "req_1") == {
        "code": 400,
        "msg": detail["message"],
        "message": detail["message"],
        "error": detail,
        "request_id": "req_1",
        "data": None,
    }
    assert openai_error_envelope(400, error, "req_1") == {"error": detail, "request_id": "req_1"}


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (401, Unauthorized(), "authentication_error"),
        (402, InsufficientBalance(), "billing_error"),
        (429, QueueFull(), "rate_limit_error"),
        (503, StorageUnavailable(), "server_error"),
    ],
)
def test_the_type_of_an_error_follows_from_its_status(status: int, error: Any, kind: str) -> None:
    assert error_envelope(status, error, "")["error"]["type"] == kind


def test_an_upload_is_described_as_stored() -> None:
    body = upload_envelope("http://h/files/u/1.png", "katze.png", "image/png", 1024)
    assert body["url"] == body["data"]["url"] == body["data"]["download_url"] == "http://h/files/u/1.png"
    assert body["data"]["filename"] == body["data"]["file_name"] == "katze.png"
    assert (body["data"]["type"], body["data"]["content_type"], body["data"]["size"]) == ("image", "image/png", 1024)


def test_the_balance_sets_apart_what_is_held() -> None:
    body = balance_envelope(Account("acc_1", "Ada", START), Balance(prepaid=9_997_000, held=3_000), "req_1")
    assert body["available"] == {"value": "9.997000", "currency": "usd"}
    assert body["frozen"] == {"value": "0.003000", "currency": "usd"}
    assert body["cash"] == {"value": "10.000000", "currency": "usd"}


def test_a_price_is_a_decimal_text() -> None:
    assert price_envelope(12_000)["data"] == {"price": "0.012", "origin_price": "0.012", "estimated": False}


def test_buckets_are_a_list_with_a_cursor() -> None:
    day = bucket("2026-01-01", "2026-01-02", [{"requests": 1}], partial=True)
    assert (day["start_at"], day["end_at"]) == ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
    body = bucket_list_envelope([day], "req_1", next_page="abc")
    assert (body["has_more"], body["next_page"], body["data"]) == (True, "abc", [day])
    assert bucket_list_envelope([], "req_1")["has_more"] is False


def test_the_catalog_announces_only_protocols_that_are_served():
    entries = catalog_envelope(load_catalog().values(), "http://here")["data"]
    has_openai = any(route.path.endswith("/images/generations") for route in ROUTES)
    assert entries
    assert all(("openai.images" in entry["supported_protocols"]) is has_openai for entry in entries)
