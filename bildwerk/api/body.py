"""The body of a request: which kinds are read at all, how much of it and for how long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from bildwerk.api.strict_json import parse_object
from bildwerk.domain.errors import BadContentType, ReceiptTimeout, TooLarge, UnsupportedEncoding

MAX_BODY_BYTES = 50_000_000
PARSE_ON_LOOP_BYTES = 64_000


async def read_json_object(request: Request, seconds: float, max_bytes: int = MAX_BODY_BYTES) -> dict[str, Any]:
    """The request's JSON object, which has to arrive within `seconds`.

    Raises `BadContentType`, `UnsupportedEncoding`, `TooLarge`, `ReceiptTimeout` or `InvalidJson`.
    """
    require_json(request.headers)
    body = await read_body(request, seconds, max_bytes)
    if len(body) <= PARSE_ON_LOOP_BYTES:
        return parse_object(body)
    return await asyncio.to_thread(parse_object, body)


async def read_body(request: Request, seconds: float, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """The whole body, counted while it streams in. Raises `TooLarge` or `ReceiptTimeout`."""
    require_fitting_length(request.headers, max_bytes)
    async with receipt_within(seconds):
        return await collect(request.stream(), max_bytes)


@asynccontextmanager
async def receipt_within(seconds: float) -> AsyncIterator[None]:
    """Raises `ReceiptTimeout` for what is received too slowly, or from a client that has gone."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise ReceiptTimeout(f"the body did not arrive within {seconds:g} seconds") from None
    except ClientDisconnect:
        raise ReceiptTimeout("the connection ended before the body did") from None


async def collect(chunks: AsyncIterator[bytes], max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            raise too_large(max_bytes)
    return bytes(body)


def require_fitting_length(headers: Headers, max_bytes: int) -> None:
    declared = headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > max_bytes:
        raise too_large(max_bytes)


def too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the body is larger than {max_bytes} bytes")


def require_json(headers: Headers) -> None:
    require_plain_encoding(headers)
    kind, charset = media_type(headers)
    if kind != "application/json":
        raise BadContentType(f"the content type must be application/json, not {kind[:80] or 'absent'}")
    if charset not in ("", "utf-8", "utf8"):
        raise BadContentType(f"the charset must be utf-8, not {charset[:80]}")


def require_plain_encoding(headers: Headers) -> None:
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedEncoding(f"a body with Content-Encoding {encoding[:80]} is not accepted; send it plain")


def media_type(headers: Headers) -> tuple[str, str]:
    """The content type and its charset, in small letters; empty where absent."""
    kind, *parameters = headers.get("content-type", "").lower().split(";")
    named = dict(parameter.strip().partition("=")[::2] for parameter in parameters)
    return kind.strip(), named.get("charset", "").strip("\"' ")
