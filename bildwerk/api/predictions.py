"""Handlers of predictions: submit, poll, cancel, history, price."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from bildwerk.api.answers import answer, not_modified
from bildwerk.api.body import read_json_object
from bildwerk.api.context import Context, caller_of, context_of
from bildwerk.api.free_disk import require_free_disk
from bildwerk.api.outputs import output_texts
from bildwerk.api.query import PREDICTION_ID, WAIT, read_history_filter, read_query
from bildwerk.api.submission import Order, find_earlier, no_such_model, read_idempotency, read_order
from bildwerk.api.waiting import read_when_ended
from bildwerk.domain.catalog import find_model
from bildwerk.domain.prediction import Prediction
from bildwerk.domain.pricing import price
from bildwerk.jobs import lifecycle
from bildwerk.jobs.submission import QueueLimits, Submission
from bildwerk.schemas.account_envelopes import price_envelope
from bildwerk.schemas.inputs import merged, model_name, read_image_input
from bildwerk.schemas.prediction_envelopes import history_envelope, prediction_envelope
from bildwerk.store import predictions

MAX_PRICED_BYTES = 1_000_000


async def generate_image(request: Request) -> Response:
    return await submit(request, "Image")


async def generate_video(request: Request) -> Response:
    return await submit(request, "Video")


async def generate_audio(request: Request) -> Response:
    return await submit(request, "Audio")


async def submit(request: Request, kind: str) -> Response:
    """Accept a prediction, durably and paid for, before saying so."""
    context, caller = context_of(request), caller_of(request)
    body = await read_json_object(request, context.settings.timing.body)
    key = read_idempotency(request.headers, body)
    earlier = await find_earlier(context, caller.account_id, key)
    order = read_order(request, body, kind, key, is_replay=earlier is not None)
    prediction_id = earlier or await accept(context, order.submission)
    prediction = await read_when_ended(context, caller.account_id, prediction_id, order.wait_seconds)
    seen = prediction if order.wait_seconds else prediction.as_submitted
    return await prediction_answer(context, seen, headers=submit_headers(order))


async def accept(context: Context, submission: Submission) -> str:
    """Hand it to the workers; the id of the prediction that it becomes."""
    require_free_disk(context)
    submitted = await context.workers.submit(submission, queue_limits(context))
    return submitted.prediction_id


def queue_limits(context: Context) -> QueueLimits:
    limits = context.settings.limits
    return QueueLimits(limits.queued_per_account, limits.queued_in_all, int(limits.queue_seconds * 1000))


def submit_headers(order: Order) -> dict[str, str]:
    return {"Preference-Applied": order.preference_applied} if order.preference_applied else {}


async def poll(request: Request) -> Response:
    return await read_prediction(request, request.path_params["prediction_id"])


async def poll_by_query(request: Request) -> Response:
    return await read_prediction(request, request.query_params.get(PREDICTION_ID.name, ""))


async def read_prediction(request: Request, prediction_id: str) -> Response:
    context, caller = context_of(request), caller_of(request)
    wait = read_query(request, WAIT)
    prediction = await read_when_ended(context, caller.account_id, prediction_id, wait)
    response = await prediction_answer(context, prediction)
    return not_modified(request, response)


async def prediction_answer(
    context: Context, prediction: Prediction, headers: dict[str, str] | None = None
) -> Response:
    outputs = await output_texts(context, prediction)
    envelope = prediction_envelope(prediction, context.public_url, outputs)
    if prediction.as_base64:
        return await asyncio.to_thread(answer, envelope, headers)
    return answer(envelope, headers)


async def cancel(request: Request) -> Response:
    """Idempotent: whatever the status, the answer is the prediction as it is now."""
    context, caller = context_of(request), caller_of(request)
    prediction_id = request.path_params["prediction_id"]
    await context.database.write(
        lambda connection: lifecycle.cancel(connection, context.now(), caller.account_id, prediction_id)
    )
    await context.workers.cancel(prediction_id)
    prediction = await read_when_ended(context, caller.account_id, prediction_id, 0)
    return await prediction_answer(context, prediction)


async def history(request: Request) -> Response:
    context, caller = context_of(request), caller_of(request)
    wanted = read_history_filter(request)
    found, total = await context.database.read(
        lambda connection: predictions.page(connection, caller.account_id, wanted)
    )
    rows = [(prediction, await output_texts(context, prediction, inline=False)) for prediction in found]
    envelope = history_envelope(rows, context.public_url, page=wanted.number, size=wanted.size, total=total)
    return await asyncio.to_thread(answer, envelope)


async def calculate(request: Request) -> Response:
    """What the same body would cost as a submit. It needs no key, hence the small body."""
    context = context_of(request)
    flat = merged(await read_json_object(request, context.settings.timing.body, MAX_PRICED_BYTES))
    name = model_name(flat)
    spec = find_model(context.catalog, name)
    if spec is None:
        raise no_such_model(name, list(context.catalog))
    prompted = flat if "prompt" in flat else {**flat, "prompt": "-"}
    wanted, _ = read_image_input(spec, prompted)
    return answer(price_envelope(price(spec.price_per_image, wanted.num_images)))
