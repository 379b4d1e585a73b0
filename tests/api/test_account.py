"""Balance, use and costs through a real server: they must agree with what was made and paid."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import requests

from tests.live_service import LiveService, live_service

MODEL = "black-forest-labs/flux-schnell"
TINY = "bildwerk/flux-tiny"


@pytest.fixture(scope="module")
def used_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """Three requests with four pictures of one model, one picture of another."""
    with live_service(tmp_path_factory.mktemp("used")) as running:
        for model, images in ((MODEL, 2), (MODEL, 1), (MODEL, 1), (TINY, 1)):
            body = {"model": model, "prompt": "a lake", "size": "64*64", "num_images": images, "enable_sync_mode": True}
            url = f"{running.url}/api/v1/model/generateImage"
            answer = requests.post(url, json=body, headers=running.headers, timeout=60).json()
            assert answer["status"] == "completed"
        yield running


def get(service: LiveService, path: str, **query: Any) -> requests.Response:
    return requests.get(f"{service.url}/public/v1/{path}", params=query, headers=service.headers, timeout=30)


def today() -> date:
    return datetime.now(UTC).date()


def days(first: int, end: int) -> dict[str, str]:
    return {
        "start_date": (today() + timedelta(days=first)).isoformat(),
        "end_date": (today() + timedelta(days=end)).isoformat(),
    }


def test_the_balance_is_the_grant_less_what_was_delivered(used_service: LiveService) -> None:
    body = get(used_service, "balance").json()
    assert body["available"] == {"value": "9.987900", "currency": "usd"}
    assert body["frozen"] == {"value": "0.000000", "currency": "usd"}
    assert body["account"]["id"].startswith("acc_")
    assert body["request_id"].startswith("req_")


def test_use_is_counted_by_day(used_service: LiveService) -> None:
    body = get(used_service, "model-usage", **days(-1, 1)).json()
    yesterday, this_day = body["data"]
    assert (yesterday["date"], yesterday["partial"]) == (days(-1, 1)["start_date"], False)
    assert yesterday["results"] == [{"requests": 0, "images": 0}]
    assert (this_day["date"], this_day["partial"]) == (today().isoformat(), True)
    assert this_day["results"] == [{"requests": 4, "images": 5}]
    assert (body["has_more"], body["next_page"], body["scope"]) == (False, None, "self")


def test_use_and_costs_are_counted_by_model(used_service: LiveService) -> None:
    query = days(0, 1) | {"group_by[]": "model"}
    (use,) = get(used_service, "model-usage", **query).json()["data"]
    (spent,) = get(used_service, "model-costs", **query).json()["data"]
    assert use["results"] == [
        {"model": TINY, "requests": 1, "images": 1},
        {"model": MODEL, "requests": 3, "images": 4},
    ]
    assert spent["results"] == [
        {"model": TINY, "amount": {"value": "0.000100", "currency": "usd"}},
        {"model": MODEL, "amount": {"value": "0.012000", "currency": "usd"}},
    ]


def test_groups_can_be_combined_and_filtered(used_service: LiveService) -> None:
    query = days(0, 1) | {"group_by[]": ["api_key", "model_type"], "model_ids[]": MODEL, "model_types[]": "Image"}
    ((result,),) = [day["results"] for day in get(used_service, "model-usage", **query).json()["data"]]
    assert (result["model_type"], result["images"]) == ("image", 4)
    assert result["api_key"].startswith("ak_")
    assert get(used_service, "model-usage", **query | {"model_types[]": "video"}).json()["data"] == []


def test_rows_come_in_pages(used_service: LiveService) -> None:
    query = days(0, 1) | {"group_by[]": "model", "limit": 1}
    first = get(used_service, "model-usage", **query).json()
    second = get(used_service, "model-usage", **query, page=first["next_page"]).json()
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert [page["data"][0]["results"][0]["model"] for page in (first, second)] == [TINY, MODEL]


BAD_QUERIES: list[tuple[dict[str, Any], str]] = [
    ({"start_date": "2026-01-01"}, "end_date"),
    ({"end_date": "2026-01-01"}, "start_date"),
    ({"start_date": "2026-13-01", "end_date": "2026-01-02"}, "start_date"),
    ({"start_date": "20260101", "end_date": "2026-01-02"}, "start_date"),
    ({"start_date": "2026-W01-1", "end_date": "2026-01-02"}, "start_date"),
    ({"start_date": "2026-01-02", "end_date": "2026-01-02"}, "end_date"),
    ({"start_date": "2026-01-01", "end_date": "2026-07-01"}, "end_date"),
    (days(0, 1) | {"group_by[]": "color"}, "group_by"),
    (days(0, 1) | {"scope": "everybody"}, "scope"),
    (days(0, 1) | {"limit": 0}, "limit"),
    (days(0, 1) | {"limit": 10**9}, "limit"),
    (days(0, 1) | {"page": "-1"}, "page"),
    (days(0, 1) | {"model_ids[]": ["x"] * 101}, "model_ids"),
]


@pytest.mark.parametrize(("query", "param"), BAD_QUERIES)
def test_a_query_that_makes_no_sense_is_refused(used_service: LiveService, query: dict[str, Any], param: str) -> None:
    answer = get(used_service, "model-usage", **query)
    assert answer.status_code == 400
    body = answer.json()
    assert set(body) == {"error", "request_id"}
    assert (body["error"]["code"], body["error"]["param"]) == ("invalid_parameter", param)


@pytest.mark.parametrize("path", ["balance", "model-usage", "model-costs"])
def test_the_account_needs_a_key(used_service: LiveService, path: str) -> None:
    answer = requests.get(f"{used_service.url}/public/v1/{path}", timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
