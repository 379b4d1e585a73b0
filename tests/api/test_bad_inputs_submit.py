"""What a submit must refuse, and what it must take although it looks odd: through a real server."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.api.answers import assert_error
from tests.live_service import LiveService, live_service

MODEL = "black-forest-labs/flux-schnell"
GOOD = {"model": MODEL, "prompt": "a lake", "size": "64*64"}


def post(service: LiveService, body: bytes, **headers: str) -> requests.Response:
    sent = service.headers | {"Content-Type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
    return requests.post(f"{service.url}/api/v1/model/generateImage", data=body, headers=sent, timeout=60)


def submit(service: LiveService, **values: Any) -> requests.Response:
    return post(service, json.dumps(GOOD | values).encode())


def predictions_made(service: LiveService) -> int:
    """How many predictions the account has: a refused request must not add one."""
    url = f"{service.url}/api/v1/model/history"
    total: int = requests.get(url, headers=service.headers, timeout=30).json()["data"]["total"]
    return total


NOT_JSON = {
    "empty": b"",
    "list": b"[]",
    "null": b"null",
    "string": b'"x"',
    "trailing garbage": b'{"model":"x"} y',
    "invalid UTF-8": b'{"model":"\xff"}',
    "byte order mark": b'\xef\xbb\xbf{"model":"x"}',
    "duplicate keys": b'{"model":"x","width":64,"width":9e9}',
    "NaN": b'{"model":"x","width":NaN}',
    "Infinity": b'{"model":"x","width":Infinity}',
    "1e999": b'{"model":"x","width":1e999}',
    "10,000 digits": b'{"model":"x","width":' + b"9" * 10_000 + b"}",
    "depth of 100,000": b'{"model":' + b"[" * 100_000,
    "a million keys": b"{" + b",".join(b'"%d":0' % i for i in range(1_000_000)) + b"}",
    "2 MB of text": b'{"model":"x","prompt":"' + b"a b " * 500_000 + b'"}',
    "lone surrogate": b'{"model":"black-forest-labs/flux-schnell","prompt":"\\ud800"}',
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_a_body_that_is_not_strict_json_is_refused(service: LiveService, body: bytes) -> None:
    before = predictions_made(service)
    assert_error(post(service, body), 400, "invalid_json")
    assert predictions_made(service) == before


def test_a_body_of_51_mb_is_refused(service: LiveService) -> None:
    assert_error(post(service, b'{"image":"' + b"A" * 51_000_000 + b'"}'), 413, "too_large")


SUBMIT = "POST /api/v1/model/generateImage HTTP/1.1"
JSON = "Content-Type: application/json"


def connected(service: LiveService) -> socket.socket:
    host = urlsplit(service.url)
    return socket.create_connection((host.hostname or "", host.port or 0), timeout=30)


def request_head(service: LiveService, *headers: str) -> bytes:
    first, *others = headers
    who = (f"Host: {urlsplit(service.url).netloc}", f"Authorization: Bearer {service.key}")
    return "\r\n".join((first, *who, *others)).encode() + b"\r\n\r\n"


def read_to_end(connection: socket.socket) -> bytes:
    """Everything that the server says until it hangs up."""
    received = bytearray()
    while piece := connection.recv(65_536):
        received += piece
    return bytes(received)


def test_a_chunked_body_without_end_is_cut_off_at_the_limit(service: LiveService) -> None:
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    with connected(service) as connection:
        connection.sendall(request_head(service, SUBMIT, JSON, "Transfer-Encoding: chunked"))
        for _ in range(60):
            connection.sendall(chunk)
        assert read_to_end(connection).startswith(b"HTTP/1.1 413")


def test_a_length_that_promises_too_much_is_refused_before_the_body(service: LiveService) -> None:
    with connected(service) as connection:
        connection.sendall(request_head(service, SUBMIT, JSON, "Content-Length: 51000000"))
        assert read_to_end(connection).startswith(b"HTTP/1.1 413")


def test_a_refused_request_keeps_its_connection_when_all_of_it_came(service: LiveService) -> None:
    headers = service.headers | {"Content-Type": "text/plain"}
    with closing(HTTPConnection(urlsplit(service.url).netloc, timeout=30)) as connection:
        for _ in range(2):
            connection.request("POST", "/api/v1/model/generateImage", b"{}" * 1_000, headers)
            answer = connection.getresponse()
            assert (answer.status, answer.getheader("Connection")) == (415, None)
            answer.read()


def test_a_client_that_asks_first_is_not_told_to_go_on_in_vain(service: LiveService) -> None:
    asking = ("Content-Type: text/plain", "Content-Length: 1000", "Expect: 100-continue")
    with connected(service) as connection:
        connection.sendall(request_head(service, SUBMIT, *asking))
        assert read_to_end(connection).startswith(b"HTTP/1.1 415")


def test_a_client_that_leaves_in_the_middle_hurts_nobody(service: LiveService) -> None:
    for head, beginning in SLOW_BODIES.values():
        with connected(service) as connection:
            connection.sendall(request_head(service, *head) + beginning)
    assert submit(service).status_code == 200
    assert "a defect of ours" not in service.log


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate"])
def test_a_compressed_body_is_refused(service: LiveService, encoding: str) -> None:
    assert_error(post(service, b"\x1f\x8b" + bytes(1000), Content_Encoding=encoding), 415, "unsupported_encoding")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_a_body_of_another_type_is_refused(service: LiveService, kind: str) -> None:
    body = json.dumps(GOOD).encode()
    assert_error(post(service, body, Content_Type=kind), 415, "bad_content_type")


@pytest.mark.parametrize("model", [None, "", 5, [], "x" * 1_000])
def test_a_model_must_be_named(service: LiveService, model: object) -> None:
    assert_error(submit(service, model=model), 400, "invalid_parameter", "model")


@pytest.mark.parametrize("model", ["nobody/nothing", "../x", "__import__", "x" * 200, "' OR 1=1"])
def test_an_unknown_model_is_not_found(service: LiveService, model: str) -> None:
    assert_error(submit(service, model=model), 404, "model_not_found")


def test_a_model_name_of_a_megabyte_is_refused_shortly(service: LiveService) -> None:
    assert_error(submit(service, model="x" * 990_000), 400, "invalid_parameter", "model")


@pytest.mark.parametrize("prompt", ["", "   ", 7, None, ["a"], "x" * 10_001, "a\x00b"])
def test_a_prompt_must_be_a_text(service: LiveService, prompt: object) -> None:
    assert_error(submit(service, prompt=prompt), 400, "invalid_parameter", "prompt")


def test_a_missing_prompt_is_named(service: LiveService) -> None:
    assert_error(post(service, json.dumps({"model": MODEL}).encode()), 400, "invalid_parameter", "prompt")


ODD_PROMPTS = ["<script>alert(1)</script>", "{{7*7}}", "${jndi:ldap://x}", "'; DROP TABLE predictions;--", "\x1b[2J",
               "\u202eabc", "\u200b\u200bx", "\U0001f600" * 100]  # fmt: skip


@pytest.mark.parametrize("prompt", ODD_PROMPTS)
def test_an_odd_prompt_is_only_text(service: LiveService, prompt: str) -> None:
    answer = submit(service, prompt=prompt)
    assert answer.status_code == 200
    url = f"{service.url}/api/v1/model/history?size=1&sessionID={answer.json()['data']['id']}"
    (item,) = requests.get(url, headers=service.headers, timeout=30).json()["data"]["items"]
    assert json.loads(item["requestBody"])["prompt"] == prompt
    assert prompt not in service.log


@pytest.mark.parametrize("name", ["width", "height"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "512", True, None, 63, 2049, 2**31, 2**63, 1e10])
def test_a_side_outside_the_range_is_refused(service: LiveService, name: str, value: object) -> None:
    detail = assert_error(submit(service, **{name: value}), 400, "invalid_parameter", name)
    assert "64 to 2048" in detail["message"]


@pytest.mark.parametrize("value", [0, -1, 51, 10**9, "4"])
def test_steps_outside_the_range_are_refused(service: LiveService, value: object) -> None:
    detail = assert_error(submit(service, steps=value), 400, "invalid_parameter", "steps")
    assert "1 to 50" in detail["message"]


@pytest.mark.parametrize("value", [0, 5, 10**6])
def test_a_number_of_pictures_outside_the_range_is_refused(service: LiveService, value: object) -> None:
    detail = assert_error(submit(service, num_images=value), 400, "invalid_parameter", "num_images")
    assert "1 to 4" in detail["message"]


@pytest.mark.parametrize("value", [-2, 2**64, "x"])
def test_a_seed_outside_the_range_is_refused(service: LiveService, value: object) -> None:
    assert_error(submit(service, seed=value), 400, "invalid_parameter", "seed")


@pytest.mark.parametrize("value", [-1, None])
def test_a_random_seed_is_told(service: LiveService, value: object) -> None:
    seeds = {submit(service, seed=value).json()["data"]["seed"] for _ in range(3)}
    assert len(seeds) == 3
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_the_largest_request_is_priced_and_ends(service: LiveService) -> None:
    answer = submit(service, size="2048*2048", num_images=4, steps=50, enable_sync_mode=True).json()
    data = answer["data"]
    assert (data["status"], len(data["outputs"]), data["price"]) == ("completed", 4, "0.012")


def test_the_values_of_the_public_sample_are_taken(service: LiveService) -> None:
    answer = submit(service, width=512, height=512, steps=20, guidance_scale=7.5)
    assert answer.status_code == 200
    assert [w.split()[0] for w in answer.json()["data"]["warnings"]][:3] == ["guidance_scale", "size", "steps"]


def test_contradicting_sizes_have_an_order_and_a_warning(service: LiveService) -> None:
    answer = submit(service, size="512*512", width=128, height=64, enable_sync_mode=True).json()["data"]
    assert "size 512x512 is not used: 128x64 was asked for" in answer["warnings"]
    picture = requests.get(answer["outputs"][0], timeout=30).content
    assert picture[16:24] == (128).to_bytes(4, "big") + (64).to_bytes(4, "big")


def test_unknown_fields_bind_nothing_and_are_named(service: LiveService) -> None:
    strange = {"price": "0", "tenant_id": "acc_x", "account_id": "acc_x", "status": "completed", "is_admin": True}
    data = submit(service, **strange, id="pred_mine", enable_sync_mode=True).json()["data"]
    named = {warning.split()[0] for warning in data["warnings"]}
    assert {*strange, "id"} <= named
    assert data["id"] != "pred_mine"
    assert data["price"] == "0.003"


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "gopher://x", "ftp://x/a.png", "data:text/html;base64,PGI+", "//host/a.png", "a.png"]
)
def test_a_picture_address_that_is_none_is_refused(service: LiveService, url: str) -> None:
    assert_error(submit(service, image=url), 400, "invalid_url", "image")


@pytest.mark.parametrize("url", ["http://example.com/hook", "https://u:p@example.com/", "https://", "x" * 1025])
def test_a_webhook_address_that_is_none_is_refused(service: LiveService, url: str) -> None:
    answer = submit(service, webhook_url=url)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "webhook_url"


@pytest.fixture(scope="module")
def impatient_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """One that waits half a second for a body."""
    seconds = {"BILDWERK_SECONDS_BODY": "0.5", "BILDWERK_SECONDS_UPLOAD": "0.5"}
    with live_service(tmp_path_factory.mktemp("impatient"), environment=seconds) as running:
        yield running


UPLOAD = "POST /api/v1/model/uploadMedia HTTP/1.1"
FORM = "Content-Type: multipart/form-data; boundary=x"
SLOW_BODIES = {
    "half a body": ((SUBMIT, JSON, "Content-Length: 1000"), b"{"),
    "half a chunked body": ((SUBMIT, JSON, "Transfer-Encoding: chunked"), b"1\r\n{\r\n"),
    "half a form": ((UPLOAD, FORM, "Content-Length: 1000"), b"--x\r\n"),
}


@pytest.mark.parametrize(("head", "beginning"), SLOW_BODIES.values(), ids=SLOW_BODIES.keys())
def test_a_body_that_does_not_come_is_given_up_and_its_connection_closed(
    impatient_service: LiveService, head: tuple[str, ...], beginning: bytes
) -> None:
    with connected(impatient_service) as connection:
        connection.sendall(request_head(impatient_service, *head) + beginning)
        received = read_to_end(connection)
    assert received.startswith(b"HTTP/1.1 408")
    assert b'"code":"request_timeout"' in received
    assert b"connection: close" in received.lower()


def test_a_client_that_still_sends_gets_to_read_why_it_should_not(service: LiveService) -> None:
    answer = requests.post(
        f"{service.url}/api/v1/model/generateImage",
        data=b" " * 20_000_000,
        headers={"Content-Type": "application/json", "Authorization": "Bearer nobody"},
        timeout=30,
    )
    assert_error(answer, 401, "unauthorized")
