"""Handler of a prediction's live events: status and steps as server-sent events, until it has ended.

An event tells how things are now, so a client that was away needs no replay: `Last-Event-ID` only says whether it has
seen the end.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from bildwerk.api.context import Context, caller_of, context_of
from bildwerk.api.outputs import output_texts
from bildwerk.api.waiting import read
from bildwerk.domain.errors import RateLimited
from bildwerk.domain.prediction import Prediction
from bildwerk.schemas.prediction_envelopes import prediction_data

END_ID = "end"
SILENCE_SECONDS = 15.0
MAX_STREAMS_PER_ACCOUNT = 32
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def events(request: Request) -> Response:
    context, caller = context_of(request), caller_of(request)
    prediction = await read(context, caller.account_id, request.path_params["prediction_id"])
    if request.headers.get("last-event-id") == END_ID:
        return Response(status_code=204)  # tells a browser's EventSource not to come back
    if context.hub.streams[caller.account_id] >= MAX_STREAMS_PER_ACCOUNT:
        raise RateLimited(f"more than {MAX_STREAMS_PER_ACCOUNT} event streams at a time", retry_after=SILENCE_SECONDS)
    stream = follow(context, caller.account_id, prediction.id)
    return EventStream(stream, context.hub.streams, caller.account_id)


class EventStream(StreamingResponse):
    """Counted from its making, so that none slips past the limit before it is sent, until it ends however it may."""

    def __init__(self, stream: AsyncIterator[str], streams: Counter[str], account_id: str) -> None:
        super().__init__(stream, media_type="text/event-stream", headers=HEADERS)
        self._streams = streams
        self._account_id = account_id
        streams[account_id] += 1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams[self._account_id] -= 1


async def follow(context: Context, account_id: str, prediction_id: str) -> AsyncIterator[str]:
    """The present status, every step, a comment in long silences, and the end: the prediction's or the service's."""
    with context.hub.follow(prediction_id) as changed:
        said: dict[str, Any] = {}
        while True:
            prediction = await read(context, account_id, prediction_id)
            data = await described(context, prediction)
            if data != said:
                yield event_text("status", data, END_ID if prediction.status.is_terminal else "open")
                said = data
            if prediction.status.is_terminal or context.hub.is_closing:
                return
            if not await heard(changed):
                yield ": still here\n\n"


async def described(context: Context, prediction: Prediction) -> dict[str, Any]:
    """What a poll would say, and how far the present stage is."""
    data = prediction_data(prediction, context.public_url, await output_texts(context, prediction, inline=False))
    stage = context.hub.stage(prediction.id)
    progress = None if stage is None else {"stage": stage.name, "done": stage.done, "total": stage.total}
    return {**data, "progress": progress}


async def heard(changed: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(SILENCE_SECONDS):
            await changed.wait()
    except TimeoutError:
        return False
    changed.clear()
    return True


def event_text(name: str, data: dict[str, Any], event_id: str) -> str:
    return f"id: {event_id}\nevent: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
