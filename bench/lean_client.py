"""An HTTP client that costs next to nothing: prepared bytes out, as much parsing as a length needs, one `select` loop.

A measurement of a server on the same machine measures the client as well; this one says how much of a core it used.
"""

import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"
CHUNK = 1 << 16
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """All answers, in order of arrival; `client_share` is the part of one core that the client itself used."""

    answers: tuple[Answer, ...]
    seconds: float
    client_share: float

    @property
    def per_second(self) -> float:
        return len(self.answers) / self.seconds

    def require(self, status: int) -> "Run":
        """Raises `SystemExit` where an answer has another status: such a run measures nothing."""
        require_status(self.answers, status)
        return self


def require_status(answers: Sequence[Answer], status: int) -> None:
    wrong = next((answer for answer in answers if answer.status != status), None)
    if wrong is not None:
        raise SystemExit(f"expected {status}, got {wrong.status}: {wrong.body[:300]!r}")


class Connection:
    """One kept-alive connection with at most one request on its way."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), PATIENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self._sent_at = 0.0

    def ask(self, request: bytes) -> Answer:
        """Send it and wait for its answer."""
        self.send(request)
        while (answer := self.receive()) is None:
            pass
        return answer

    def send(self, request: bytes) -> None:
        self._received, self._sent_at = b"", time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> Answer | None:
        """The answer, once all of it is here. Raises `ConnectionError` where the server hangs up."""
        chunk = self.socket.recv(CHUNK)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        self._received += chunk
        head, found, body = self._received.partition(HEAD_END)
        if not found or len(body) < body_length(head):
            return None
        return Answer(int(head[9:12]), body, time.perf_counter() - self._sent_at)


def body_length(head: bytes) -> int:
    """Raises `ValueError` for an answer without `Content-Length`."""
    lines = head.lower().split(b"\r\n")
    return int(next(line for line in lines if line.startswith(LENGTH)).removeprefix(LENGTH))


def request_bytes(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """`headers` must have `Host`."""
    given = headers | ({"Content-Type": "application/json", "Content-Length": str(len(body))} if body else {})
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join(lines).encode() + HEAD_END + body


def connect(url: str) -> Connection:
    where = urlsplit(url)
    assert where.hostname is not None
    assert where.port is not None
    return Connection(where.hostname, where.port)


def exchange(url: str, requests: Sequence[bytes], connections: int) -> Run:
    """Send every request once, `connections` at a time."""
    with ExitStack() as closing:
        opened = [connect(url) for _ in range(min(connections, len(requests)))]
        for connection in opened:
            closing.enter_context(connection.socket)
        started, used = time.perf_counter(), time.process_time()
        answers = tuple(answers_of(opened, iter(requests)))
        seconds, used = time.perf_counter() - started, time.process_time() - used
    return Run(answers, seconds, used / seconds)


def answers_of(opened: Sequence[Connection], left: Iterator[bytes]) -> Iterator[Answer]:
    with selectors.DefaultSelector() as selector:
        for connection in opened:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.send(next(left))
        waiting = len(opened)
        while waiting:
            ready = selector.select(PATIENCE_SECONDS)
            if not ready:
                raise TimeoutError(f"no answer within {PATIENCE_SECONDS:g} s")
            for key, _ in ready:
                answer = key.data.receive()
                if answer is None:
                    continue
                yield answer
                if (request := next(left, None)) is None:
                    waiting -= 1
                else:
                    key.data.send(request)
