"""HTTP/1.1 as uvicorn speaks it, for strangers: a request's head must be small and must arrive in time.

uvicorn never closes a connection that sends half a head, and it reads heads of any size. The parser itself (llhttp)
refuses what two readers of one stream could read differently: bare line feeds, folded headers, two lengths, a length
beside chunks.
"""

import asyncio
import ipaddress
import json
import secrets
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bildwerk.domain.errors import InvalidRequest
from bildwerk.schemas.error_envelopes import error_envelope

MAX_HEAD_BYTES = 16_384
HEAD_SECONDS = 10.0
SECOND_LOOK_SECONDS = 0.1
MAX_CONNECTIONS_PER_PEER = 256
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
REASONS = {
    400: ("Bad Request", "this is not a valid HTTP request"),
    408: ("Request Timeout", f"the head of the request did not arrive within {HEAD_SECONDS:g} seconds"),
    431: ("Request Header Fields Too Large", f"the head of a request may have at most {MAX_HEAD_BYTES} bytes"),
}


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    head_seconds = HEAD_SECONDS
    proxies: Network | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._in_head = False
        self._head_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not self._is_proxy() and self._peers() > MAX_CONNECTIONS_PER_PEER:
            transport.abort()
            return
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(431)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._forget_deadline()
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD_BYTES:
            self._refuse(431)
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self.transport.is_closing():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            self._expect_head()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        if not self.transport.is_closing():
            self._refuse(400)

    def _expect_head(self) -> None:
        """From now on the next request has its time to begin and to send its head."""
        self._forget_deadline()
        self._deadline = asyncio.get_running_loop().call_later(self.head_seconds, self._head_seems_late)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _head_seems_late(self) -> None:
        """It may have arrived while a busy loop did not look: let it look once more."""
        self._deadline = asyncio.get_running_loop().call_later(SECOND_LOOK_SECONDS, self._head_is_late)

    def _head_is_late(self) -> None:
        if self._in_head:
            self._refuse(408)
        elif self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def _refuse(self, status: int) -> None:
        """Answer in the one envelope that all errors have, and close."""
        reason, message = REASONS[status]
        request_id = f"req_{secrets.token_hex(12)}"
        body = json.dumps(error_envelope(status, InvalidRequest(message), request_id)).encode()
        head = (
            f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"X-Request-ID: {request_id}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _is_proxy(self) -> bool:
        """A proxy brings the connections of many strangers, and it is for it to count them."""
        if self.proxies is None or not self.client:
            return False
        return ipaddress.ip_address(self.client[0].partition("%")[0]) in self.proxies

    def _peers(self) -> int:
        """Open connections from the same address, this one among them."""
        here = self.client and self.client[0]
        return sum(
            1
            for other in self.connections
            if isinstance(other, HttpToolsProtocol) and other.client and other.client[0] == here
        )


def protocol_behind(network: Network) -> type[GuardedProtocol]:
    """The protocol that counts no connections of proxies, which are in `network`."""
    return type("GuardedProtocolBehindProxy", (GuardedProtocol,), {"proxies": network})
