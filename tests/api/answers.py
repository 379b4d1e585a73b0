"""What every error must look like, whatever it is."""

from typing import Any

import requests

BANNED = ("Traceback", "sqlite", "SELECT ", "site-packages", ".py")


def assert_error(answer: requests.Response, status: int, code: str, param: str | None = None) -> dict[str, Any]:
    """Check the envelope, the headers and the silence about our insides; returns the error's detail."""
    assert answer.status_code == status, (answer.status_code, answer.text[:500])
    body = answer.json()
    assert set(body) == {"code", "msg", "message", "error", "request_id", "data"}
    assert (body["code"], body["data"]) == (status, None)
    assert body["msg"] == body["message"] == body["error"]["message"] != ""
    assert body["request_id"] == answer.headers["X-Request-ID"]
    assert set(body["error"]) == {"message", "type", "code", "param"}
    assert (body["error"]["code"], body["error"]["param"]) == (code, param)
    assert len(answer.content) < 2_000
    assert not any(word in answer.text for word in BANNED)
    if status != 402:
        assert "balance" not in answer.text.lower()
        assert "insufficient" not in answer.text.lower()
    detail: dict[str, Any] = body["error"]
    return detail
