"""The socket that `bildwerk serve` listens on."""

import socket

from bildwerk.cli.server import listen


def test_the_body_of_an_answer_does_not_wait_for_the_acknowledgment_of_its_head():
    with (
        listen("127.0.0.1", 0) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
