"""Reading a prediction now, or when it has ended, whichever comes first within the caller's patience."""

import asyncio
from contextlib import suppress

from bildwerk.api.context import Context
from bildwerk.domain.errors import PredictionNotFound
from bildwerk.domain.prediction import Prediction
from bildwerk.store import predictions

MAX_ID_CHARACTERS = 64


async def read_when_ended(context: Context, account_id: str, prediction_id: str, seconds: float) -> Prediction:
    """The prediction as it is when it ends, when `seconds` are over or when the service stops, whichever comes first.

    Raises `PredictionNotFound` for an unknown prediction and for another account's, in the same way.
    """
    with context.hub.watch(prediction_id) as news:
        found = await read(context, account_id, prediction_id)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                while not (found.status.is_terminal or context.hub.is_closing):
                    await news.wait()
                    news.clear()
                    found = news.ended or await read(context, account_id, prediction_id)
    return found


async def read(context: Context, account_id: str, prediction_id: str) -> Prediction:
    if not 0 < len(prediction_id) <= MAX_ID_CHARACTERS or not prediction_id.isascii():
        raise PredictionNotFound()
    found = await context.database.look_up(
        lambda connection: predictions.find_of_account(connection, account_id, prediction_id)
    )
    if found is None:
        raise PredictionNotFound()
    return found
