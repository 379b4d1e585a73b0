"""What a stranger may send on a connection, and for how long: raw bytes to a real server."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from bildwerk.cli.commands.serve import proxy_options
from bildwerk.cli.guarded_protocol import MAX_CONNECTIONS_PER_PEER, GuardedProtocol
from bildwerk.settings import Settings

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"


class Impatient(GuardedProtocol):
    head_seconds = 0.5


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{len(await request.body())}")


@contextmanager
def serving(protocol: type[GuardedProtocol]) -> Iterator[tuple[str, int]]:
    app = Starlette(routes=[Route("/", echo, methods=["POST"])])
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    server = uvicorn.Server(uvicorn.Config(app, http=protocol, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listening.getsockname()
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    with serving(Impatient) as address:
        yield address


def connect(address: tuple[str, int]) -> socket.socket:
    connection = socket.create_connection(address)
    connection.settimeout(20)
    return connection


def answer_to(address: tuple[str, int], sent: bytes) -> bytes:
    """Everything that comes back until the server closes."""
    with connect(address) as connection:
        connection.sendall(sent)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    received = b""
    try:
        while data := connection.recv(65_536):
            received += data
    except ConnectionResetError:
        pass
    return received


def test_a_request_is_answered(address: tuple[str, int]):
    answer = answer_to(address, HEAD + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"5")


def test_a_chunked_request_is_answered(address: tuple[str, int]):
    chunks = b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    assert answer_to(address, HEAD + chunks).endswith(b"5")


SMUGGLED = {
    "a length beside chunks": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "bare line feeds": b"POST / HTTP/1.1\nHost: localhost\nContent-Length: 0\n\n",
    "one bare line feed": HEAD + b"A: b\nContent-Length: 0\r\n\r\n",
    "a folded header": HEAD + b"A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "a space before the colon": HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "an unknown coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
}


@pytest.mark.parametrize("sent", SMUGGLED.values(), ids=SMUGGLED.keys())
def test_what_two_readers_could_read_differently_is_refused_and_the_connection_closed(
    address: tuple[str, int], sent: bytes
):
    answer = answer_to(address, sent)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == 400


@pytest.mark.parametrize("ending", [b"\r\n\r\n", b""], ids=["whole", "endless"])
def test_a_head_of_64_kb_is_refused(address: tuple[str, int], ending: bytes):
    assert answer_to(address, HEAD + b"A: " + b"b" * 65_536 + ending).startswith(b"HTTP/1.1 431 ")


def test_half_a_head_is_not_waited_for(address: tuple[str, int]):
    assert answer_to(address, HEAD).startswith(b"HTTP/1.1 408 ")


def test_silence_is_not_waited_for(address: tuple[str, int]):
    assert answer_to(address, b"") == b""


def test_half_a_head_after_a_whole_request_is_not_waited_for(address: tuple[str, int]):
    answer = answer_to(address, HEAD + b"Content-Length: 0\r\n\r\n" + HEAD)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in answer


def test_a_body_may_take_longer_than_a_head(address: tuple[str, int]):
    with connect(address) as connection:
        connection.sendall(HEAD + b"Connection: close\r\nContent-Length: 5\r\n\r\nhel")
        time.sleep(1)
        connection.sendall(b"lo")
        assert read_all(connection).endswith(b"5")


@pytest.mark.parametrize(("network", "is_answered"), [("127.0.0.0/8", True), ("10.0.0.0/8", False), ("::1", False)])
def test_connections_of_the_proxy_are_not_counted(tmp_path: Path, network: str, is_answered: bool):
    options = proxy_options(Settings(tmp_path, tmp_path, behind_proxy=network))
    with serving(options["http"]) as address, ExitStack() as held:  # type: ignore[arg-type]
        for _ in range(MAX_CONNECTIONS_PER_PEER):
            held.enter_context(connect(address))
        answer = answer_to(address, HEAD + b"Connection: close\r\nContent-Length: 0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ") is is_answered


def test_one_address_gets_no_more_than_its_share_of_connections(address: tuple[str, int]):
    held = [connect(address) for _ in range(MAX_CONNECTIONS_PER_PEER + 20)]
    try:
        time.sleep(0.2)
        held[-1].sendall(HEAD + b"Content-Length: 0\r\n\r\n")
        assert read_all(held[-1]) == b""
    finally:
        for connection in held:
            connection.close()
