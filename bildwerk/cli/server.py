"""The HTTP server of `bildwerk serve`: uvicorn, told when to speak and how to stop."""

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
import uvicorn

from bildwerk.app import Service
from bildwerk.cli.failure import UsageError
from bildwerk.cli.guarded_protocol import GuardedProtocol
from bildwerk.domain.errors import SetupError
from bildwerk.settings import MAX_PORT

log = structlog.get_logger()

GRACEFUL_SECONDS = 10
BACKLOG = 1024


class Server(uvicorn.Server):
    """The first SIGTERM or SIGINT drains, the second gives everything back at once."""

    def __init__(self, config: uvicorn.Config, service: Service, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._service = service
        self._announce = announce
        self.stopped_by: signal.Signals | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            gc.collect()
            gc.freeze()  # what is loaded by now stays: looking through all of it again would take 50 ms each time
            self._announce()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn would leave it at that, and cut off what is being given back
            await self.lifespan.shutdown()

    def _stop(self, number: signal.Signals) -> None:
        if self.stopped_by is None:
            self.stopped_by = number
            log.info("stopping: pictures that have begun are finished; a second signal gives them back at once")
            self.should_exit = True
            self._service.dispatcher.stop_claiming()
            self._service.context.hub.close()  # else uvicorn cuts off, with a 500, whoever waits for a picture
        elif not self.force_exit:
            self.force_exit = True
            self._giving_back = asyncio.ensure_future(self._service.dispatcher.give_back())


def run_server(
    service: Service, listening: socket.socket, announce: Callable[[], None], options: dict[str, object]
) -> signal.Signals | None:
    """Serve until a signal, which is returned. Raises `SetupError` when the service cannot start."""
    config = uvicorn.Config(service.app, **{**fixed_options(), **options})  # type: ignore[arg-type]
    server = Server(config, service, announce)
    asyncio.run(server.serve(sockets=[listening]))
    if not server.started:
        raise SetupError("the service could not start; the reason is in the log above")
    return server.stopped_by


def fixed_options() -> dict[str, object]:
    return {
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "ws": "none",
        "http": GuardedProtocol,
        "lifespan": "on",
        "timeout_graceful_shutdown": GRACEFUL_SECONDS,
    }


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes any that is free. Raises `UsageError` for no port, `SetupError` for one taken."""
    if not 0 <= port <= MAX_PORT:
        raise UsageError(f"--port must be from 0 to {MAX_PORT}, not {port}")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise SetupError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    # Connections inherit it. asyncio would set it, but not for sockets made without a protocol number as this one is;
    # without it, an answer's body waits up to 40 ms until its head is acknowledged.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def url_of(host: str, listening: socket.socket, scheme: str = "http") -> str:
    """Where a browser on this machine finds the server."""
    port = listening.getsockname()[1]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"{scheme}://[{reachable}]:{port}" if ":" in reachable else f"{scheme}://{reachable}:{port}"
