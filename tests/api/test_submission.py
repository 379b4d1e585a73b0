"""What a submit and its price take in, answer again and keep."""

from pathlib import Path

import pytest

from tests.inline_service import GOOD, inline_service

SUBMIT = "/api/v1/model/generateImage"


def test_a_stranger_may_ask_for_a_price_with_a_small_body_only(tmp_path: Path):
    with inline_service(tmp_path / "data") as service:
        fitting = service.client.post("/api/v1/model/calculate", json=GOOD | {"unknown": "x" * 900_000})
        assert fitting.status_code == 200
        refused = service.client.post("/api/v1/model/calculate", json=GOOD | {"unknown": "x" * 1_000_000})
        assert refused.status_code == 413
        assert "1000000" in refused.json()["message"]


@pytest.mark.parametrize("trouble", ["no worker", "full disk"])
def test_a_replay_is_answered_where_nothing_new_would_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str):
    with inline_service(tmp_path / "data") as service:
        headers = service.headers | {"Idempotency-Key": "once"}
        first = service.client.post(SUBMIT, json=GOOD, headers=headers)
        context = service.service.context
        if trouble == "no worker":
            monkeypatch.setattr(type(context.workers), "can_serve", lambda _workers, _model: False)
        else:
            monkeypatch.setattr(type(context.files), "free_bytes", lambda _files: 0)
        assert service.client.post(SUBMIT, json=GOOD, headers=service.headers).status_code == 503
        again = service.client.post(SUBMIT, json=GOOD, headers=headers)
        assert (first.status_code, again.status_code) == (200, 200)
        assert again.json()["predictionId"] == first.json()["predictionId"]
        other = service.client.post(SUBMIT, json=GOOD | {"prompt": "a hill"}, headers=headers)
        assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_mismatch")
