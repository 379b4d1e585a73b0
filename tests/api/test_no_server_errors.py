"""Whatever is sent, the answer is never a 5xx and always in an envelope."""

import json
import string
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bildwerk.api.routes import ROUTES
from bildwerk.settings import Limits
from tests.inline_service import GOOD, InlineService, inline_service

MANY = Limits(submits_per_minute=10**9, reads_per_minute=10**9, queued_per_account=10**9, queued_in_all=10**9)
KNOWN = [*GOOD, "width", "height", "steps", "seed", "num_images", "output_format", "image", "images", "mask_image",
         "strength", "guidance_scale", "negative_prompt", "aspect_ratio", "resolution", "image_size", "webhook_url",
         "enable_base64_output", "enable_safety_checker", "input"]  # fmt: skip
HEADERS = ["Idempotency-Key", "Prefer", "Cancel-After", "X-AtlasCloud-Object-Expiration-Hours", "Range",
           "If-None-Match", "X-AtlasCloud-Request-Retention-Hours", "X-Request-ID", "Accept-Language",
           "Accept", "Cookie"]  # fmt: skip
QUERY_NAMES = ["no", "size", "status", "model", "sessionID", "wait", "predictionId", "start_date", "end_date", "limit",
               "page", "group_by[]", "model_ids[]", "exp", "sig"]  # fmt: skip

visible = st.text(string.ascii_letters + string.digits + " !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", max_size=40)
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.sampled_from([0, 1, 64, 4])
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner))
bodies = st.dictionaries(st.sampled_from(KNOWN) | st.text(max_size=8), values, max_size=5).map(lambda odd: GOOD | odd)
many = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@pytest.fixture(scope="module")
def inline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InlineService]:
    with inline_service(tmp_path_factory.mktemp("inline"), limits=MANY) as running:
        yield running


def assert_answered(answer: httpx.Response) -> None:
    assert answer.status_code < 500, (answer.status_code, answer.text[:300])
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        body = answer.json()
        assert body["error"]["message"]
        assert body["error"]["code"]
        assert body["request_id"] == answer.headers["X-Request-ID"]


@many
@given(body=bodies)
def test_no_submit_breaks_the_server(inline: InlineService, body: dict[str, Any]) -> None:
    text = json.dumps(body)
    for path in ("generateImage", "calculate"):
        url = f"/api/v1/model/{path}"
        assert_answered(
            inline.client.post(url, content=text, headers=inline.headers | {"Content-Type": "application/json"})
        )


@many
@given(
    content=st.binary(max_size=60), kind=st.sampled_from(["application/json", "multipart/form-data; boundary=x", ""])
)
def test_no_bytes_break_the_server(inline: InlineService, content: bytes, kind: str) -> None:
    for path in ("generateImage", "uploadMedia", "calculate"):
        headers = inline.headers | ({"Content-Type": kind} if kind else {})
        framed = b"--x\r\n" + content + b"\r\n--x--\r\n" if kind.startswith("multipart") else content
        assert_answered(inline.client.post(f"/api/v1/model/{path}", content=framed, headers=headers))


@many
@given(headers=st.dictionaries(st.sampled_from(HEADERS), visible, max_size=4))
def test_no_header_breaks_the_server(inline: InlineService, headers: dict[str, str]) -> None:
    sent = headers | inline.headers
    if "wait" in sent.get("Prefer", ""):
        sent.pop("Prefer")
    assert_answered(inline.client.post("/api/v1/model/generateImage", json=GOOD, headers=sent))


@many
@given(
    route=st.sampled_from([route for route in ROUTES if route.method == "GET"]),
    word=visible,
    query=st.dictionaries(st.sampled_from(QUERY_NAMES), visible | st.just("2026-01-01"), max_size=4),
    method=st.sampled_from(["GET", "HEAD"]),
)
def test_no_query_and_no_path_breaks_the_server(
    inline: InlineService, route: Any, word: str, query: dict[str, str], method: str
) -> None:
    path = route.path
    for name in ("{prediction_id}", "{slug}", "{key:path}"):
        path = path.replace(name, quote(word, safe="/") or "x")
    if query.get("wait", "").isdigit():
        query = {**query, "wait": "0"}
    assert_answered(inline.client.request(method, path, params=query, headers=inline.headers))
