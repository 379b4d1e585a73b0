"""What a service could reach at most: Starlette with one route that does nothing, under the same HTTP server.

python -m bench.bare_route        prints its address, and serves until it is killed
"""

import asyncio
import socket

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def hello(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


def main() -> None:
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    app = Starlette(routes=[Route("/", hello)])
    config = uvicorn.Config(app, http="httptools", log_config=None, access_log=False, lifespan="off", ws="none")
    print(f"listening on http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


if __name__ == "__main__":
    main()
