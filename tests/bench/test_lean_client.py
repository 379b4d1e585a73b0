"""The client that measures the service: it must read whole answers, of every request, and refuse wrong ones."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from bench.lean_client import connect, exchange, request_bytes

PAUSE_SECONDS = 0.02
ANSWERS = {
    b"/in-pieces": [b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 5\r\n\r\nw", b"hole"],
    b"/missing": [b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"],
    b"/hang-up": [],
}


@pytest.fixture
def url() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=serve_one_client, args=(listening,))
        serving.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        serving.join()


def serve_one_client(listening: socket.socket) -> None:
    client, _ = listening.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with client:
        while request := client.recv(1 << 16):
            pieces = ANSWERS[request.split()[1]]
            for piece in pieces:
                client.sendall(piece)
                time.sleep(PAUSE_SECONDS)
            if not pieces:
                return


def ask(path: str) -> bytes:
    return request_bytes("GET", path, {"Host": "localhost"})


def test_an_answer_that_comes_in_pieces_is_read_to_its_end(url: str):
    run = exchange(url, [ask("/in-pieces")] * 3, connections=1)
    assert [(answer.status, answer.body) for answer in run.answers] == [(200, b"whole")] * 3


def test_one_connection_asks_again_and_again(url: str):
    connection = connect(url)
    with connection.socket:
        bodies = [connection.ask(ask(path)).body for path in ("/in-pieces", "/missing", "/in-pieces")]
    assert bodies == [b"whole", b"", b"whole"]  # and the server here accepts no second connection


def test_a_run_with_a_wrong_answer_measures_nothing(url: str):
    run = exchange(url, [ask("/missing")], connections=4)
    with pytest.raises(SystemExit, match="expected 200, got 404"):
        run.require(200)


def test_a_server_that_hangs_up_is_no_answer(url: str):
    with pytest.raises(ConnectionError):
        exchange(url, [ask("/hang-up")], connections=1)
