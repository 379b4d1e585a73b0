"""JSON answers, and the short one for a client that has the same already."""

import hashlib
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

NO_STORE = {"Cache-Control": "private, no-store"}
ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def answer(content: Any, headers: dict[str, str] | None = None) -> Response:
    text = ENCODER.encode(content).encode()
    return Response(text, media_type="application/json", headers={**NO_STORE, **(headers or {})})


def not_modified(request: Request, response: Response) -> Response:
    """`response` under an ETag of its body, or 304 when the client names that one."""
    tag = '"' + hashlib.sha256(bytes(response.body)).hexdigest()[:32] + '"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if matches(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return response


def matches(if_none_match: str, tag: str) -> bool:
    """RFC 9110 weak comparison of `If-None-Match` with one strong tag."""
    given = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return tag in given or given == ["*"]
