"""What a submit and its price take in, answer again and keep."""

from pathlib import Path

from tests.inline_service import GOOD, inline_service


def test_a_stranger_may_ask_for_a_price_with_a_small_body_only(tmp_path: Path):
    with inline_service(tmp_path / "data") as service:
        fitting = service.client.post("/api/v1/model/calculate", json=GOOD | {"unknown": "x" * 900_000})
        assert fitting.status_code == 200
        refused = service.client.post("/api/v1/model/calculate", json=GOOD | {"unknown": "x" * 1_000_000})
        assert refused.status_code == 413
        assert "1000000" in refused.json()["message"]
