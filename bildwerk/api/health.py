"""Handlers that say how the server is."""

from importlib.metadata import version as installed_version

from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bildwerk.api.answers import answer
from bildwerk.api.context import Context, context_of
from bildwerk.domain.errors import StorageUnavailable
from bildwerk.jobs.workers import State
from bildwerk.schemas.server_envelopes import live_envelope, ready_envelope, version_envelope


async def live(_request: Request) -> Response:
    return answer(live_envelope())


async def ready(request: Request) -> Response:
    """200 when the database answers and some worker can work; else 503 with the reasons."""
    context = context_of(request)
    workers = context.workers.health()
    reasons = [f"{worker.name}: {worker.reason or worker.state}" for worker in workers if worker.state != State.READY]
    states = [(worker.name, str(worker.state)) for worker in workers]
    content = ready_envelope(await database_answers(context), states, reasons)
    return JSONResponse(content, 200 if content["status"] == "ready" else 503, {"Cache-Control": "no-store"})


async def database_answers(context: Context) -> bool:
    try:
        await context.database.read(lambda connection: connection.execute(text("SELECT 1")).scalar_one())
    except StorageUnavailable:
        return False
    return True


async def version(_request: Request) -> Response:
    return answer(version_envelope(installed_version("bildwerk")))
