import asyncio
from typing import Any

import pytest
from starlette.requests import Request

from bildwerk.api.body import read_json_object
from bildwerk.domain.errors import BadContentType, InvalidJson, ReceiptTimeout, TooLarge, UnsupportedEncoding

JSON = {"content-type": "application/json"}


def read(
    chunks: list[bytes], headers: dict[str, str] = JSON, max_bytes: int = 1000, stall: bool = False
) -> dict[str, Any]:
    """Read a body that arrives as `chunks` and, with `stall`, then neither goes on nor ends."""
    messages = iter([{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks])

    async def receive() -> dict[str, Any]:
        for message in messages:
            return message
        if stall:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": b"", "more_body": False}

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    request = Request({"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": raw}, receive)
    return asyncio.run(read_json_object(request, 0.05, max_bytes))


def test_a_body_in_pieces_is_put_together() -> None:
    assert read([b'{"a"', b":", b"1}"]) == {"a": 1}


def test_a_large_body_is_read_too() -> None:
    assert len(read([b'{"a":"' + b"x" * 100_000 + b'"}'], max_bytes=200_000)["a"]) == 100_000


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"', "application/json ;"]
)
def test_json_may_say_that_it_is_utf8(kind: str) -> None:
    assert read([b"{}"], {"content-type": kind}) == {}


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
        "application/json; charset=utf-16",
    ],
)
def test_another_content_type_is_refused(kind: str) -> None:
    with pytest.raises(BadContentType):
        read([b"{}"], {"content-type": kind})


def test_an_absent_content_type_is_refused() -> None:
    with pytest.raises(BadContentType, match="absent"):
        read([b"{}"], {})


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "zstd", "identity, gzip"])
def test_a_compressed_body_is_refused_unread(encoding: str) -> None:
    with pytest.raises(UnsupportedEncoding):
        read([b"\x1f\x8b"], {**JSON, "content-encoding": encoding})


def test_a_declared_length_beyond_the_limit_is_refused_unread() -> None:
    with pytest.raises(TooLarge, match="1000 bytes"):
        read([], {**JSON, "content-length": "1001"}, stall=True)


@pytest.mark.parametrize("declared", ["10", "-1", "abc", "²"])
def test_what_arrives_is_counted_whatever_was_declared(declared: str) -> None:
    with pytest.raises(TooLarge):
        read([b" " * 400] * 3, {**JSON, "content-length": declared})


def test_a_body_that_stops_is_given_up() -> None:
    with pytest.raises(ReceiptTimeout, match=r"0\.05 seconds"):
        read([b'{"a":'], stall=True)


def test_an_empty_body_is_no_object() -> None:
    with pytest.raises(InvalidJson):
        read([])
