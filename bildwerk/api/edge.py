"""What every request passes first: a request id, the check of its host, and the last net under a defect of ours."""

import asyncio
import re
import secrets
import time
from collections.abc import Collection, Sequence
from contextlib import suppress

import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bildwerk.api.errors import error_response
from bildwerk.domain.errors import BadHost, InternalError, InvalidHeader

log = structlog.get_logger("bildwerk.api")

LOOKING = frozenset({"GET", "HEAD", "OPTIONS"})
ERRORS = 400
DRAIN_SECONDS = 2.0
PROMPT_SECONDS = 0.05

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?", re.ASCII)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)

SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""What every answer has unless it says otherwise."""


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self.app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send)
        try:
            self._check(scope)
            await self.app(scope, exchange.receive, exchange.send)
        except (BadHost, InvalidHeader) as error:
            await error_response(Request(scope), error)(scope, exchange.receive, exchange.send)
        except Exception:
            log.exception("a defect of ours", request_id=exchange.request_id)
            if exchange.status is None:
                await error_response(Request(scope), InternalError())(scope, exchange.receive, exchange.send)
        finally:
            exchange.log()

    def _check(self, scope: Scope) -> None:
        names = [name for name, _ in scope["headers"]]
        if b"content-length" in names and b"transfer-encoding" in names:
            raise InvalidHeader("Content-Length and Transfer-Encoding exclude each other")
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if match is None or match[1].lower() not in self._hosts:
            raise BadHost()


class Exchange:
    """One request and its answer: adds the headers that every answer has, and logs a line at the end.

    A body that was not read to its end by the time of the answer is taken off first, if it is as good as here. Else it
    is drained for a while after the answer, so that a client that is still sending gets to read it, and then the
    connection is closed, so that a slow one cannot hold it.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"
        self.status: int | None = None
        self._scope = scope
        self._receive = receive
        self._send = send
        self._is_unread = b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
        self._is_coming = b"expect" not in headers  # else the client waits to be asked for the body
        self._started = time.monotonic()
        scope.setdefault("state", {})["request_id"] = self.request_id

    async def receive(self) -> Message:
        self._is_coming = True
        message = await self._receive()
        self._is_unread = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._drain(PROMPT_SECONDS)
            self.status = message["status"]
            message = {**message, "headers": self._headers(message["headers"])}
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if is_last and self._is_unread:
            await self._send({**message, "more_body": True})
            await self._drain(DRAIN_SECONDS)
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    def _headers(self, given: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        names = {name for name, _ in given}
        added = [(b"x-request-id", self.request_id.encode())]
        added += [pair for pair in SAFE_HEADERS if pair[0] not in names]
        if self._is_unread:
            added.append((b"connection", b"close"))
        return [*given, *added]

    async def _drain(self, seconds: float) -> None:
        if not self._is_unread:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._is_unread and self._is_coming:
                    await self.receive()

    def log(self) -> None:
        """The route's pattern, never the path, in which there may be a signature's file or a mistyped key.

        What only looks, as every poll does, and finds, is said where somebody asks for every detail.
        """
        route = self._scope.get("route")
        caller = self._scope["state"].get("caller")
        say = log.debug if self._scope["method"] in LOOKING and (self.status or ERRORS) < ERRORS else log.info
        say(
            "request",
            method=self._scope["method"],
            route=getattr(route, "path", None),
            status=self.status,
            ms=round((time.monotonic() - self._started) * 1000, 1),
            account=caller.account_id if caller else None,
            request_id=self.request_id,
        )
