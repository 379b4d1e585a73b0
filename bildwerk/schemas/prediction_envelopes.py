"""A prediction as clients see it: the answers to a submit and to a poll, and the rows of the history.

Clients of many makes read these. What they hold against us if it is there too early: a top-level `request_id` or `url`,
a message, outputs. What they wait for without end: any status but `completed` and `failed`.
"""

from collections.abc import Sequence
from typing import Any

from bildwerk.domain.prediction import FAILURE_NUMBERS, Prediction, Status
from bildwerk.domain.pricing import dollars
from bildwerk.schemas.timestamps import rfc3339

WIRE_STATUSES = {
    Status.QUEUED: "processing",
    Status.RUNNING: "processing",
    Status.SUCCEEDED: "completed",
    Status.FAILED: "failed",
    Status.CANCELED: "failed",
    Status.EXPIRED: "failed",
}


def statuses_on_the_wire(word: str) -> frozenset[Status]:
    """The statuses that a client means by `word`; none for a word that no prediction of ours ever has."""
    return frozenset(status for status, wire in WIRE_STATUSES.items() if wire == word)


def prediction_envelope(prediction: Prediction, public_url: str, outputs: Sequence[str] = ()) -> dict[str, Any]:
    """The answer to a submit and to a poll, running or ended. `outputs` are the pictures' URLs or data URIs."""
    data = prediction_data(prediction, public_url, outputs)
    copied = ("id", "status", "model", "outputs", "created_at", "completed_at", "metrics")
    top = {name: data[name] for name in copied if name in data}
    return {"code": 200, "message": "", "msg": "", "predictionId": prediction.id, **top, "data": data}


def prediction_data(prediction: Prediction, public_url: str, outputs: Sequence[str] = ()) -> dict[str, Any]:
    """The prediction itself, as it also stands in the history and in webhooks."""
    data = {
        "id": prediction.id,
        "model": prediction.model,
        "status": WIRE_STATUSES[prediction.status],
        "outputs": list(outputs) if prediction.status is Status.SUCCEEDED else None,
        "error": failure_text(prediction),
        "urls": prediction_urls(public_url, prediction.id),
        "has_nsfw_contents": None,
        "seed": prediction.input.get("seed"),
        "warnings": list(prediction.warnings),
        "created_at": rfc3339(prediction.created_at),
    }
    return data | ending(prediction) if prediction.status.is_terminal else data


def prediction_urls(public_url: str, prediction_id: str) -> dict[str, str]:
    get = f"{public_url}/api/v1/model/prediction/{prediction_id}"
    return {"get": get, "cancel": f"{get}/cancel", "events": f"{get}/events"}


def failure_text(prediction: Prediction) -> str:
    """Why there is no picture: a sentence for everything that ended without one, empty for everything else."""
    if WIRE_STATUSES[prediction.status] != "failed":
        return ""
    return prediction.error or f"the prediction ended as {prediction.status}"


def ending(prediction: Prediction) -> dict[str, Any]:
    """What is known only of a prediction that has ended. Only a success costs anything."""
    finished = prediction.finished_at or prediction.created_at
    started = prediction.started_at or finished
    succeeded = prediction.status is Status.SUCCEEDED
    failure = {} if prediction.error_code is None else {"error_code": FAILURE_NUMBERS[prediction.error_code]}
    return failure | {
        "completed_at": rfc3339(finished),
        "price": dollars(prediction.price if succeeded else 0),
        "executionTime": finished - prediction.created_at,
        "timings": timings(prediction, started - prediction.created_at, finished - started),
        "metrics": {"predict_time": (finished - started) / 1000},
    }


def timings(prediction: Prediction, queue: int, inference: int) -> dict[str, int]:
    """Milliseconds spent waiting, with a worker, and there in each stage."""
    stages = {stage: round(seconds * 1000) for stage, seconds in prediction.timings.items()}
    return {"queue": queue, "inference": inference, **stages}


def history_envelope(
    rows: Sequence[tuple[Prediction, Sequence[str]]], public_url: str, *, page: int, size: int, total: int
) -> dict[str, Any]:
    """One page of an account's predictions with their outputs, newest first. `page` counts from 1."""
    items = [history_item(prediction, outputs, public_url) for prediction, outputs in rows]
    return {
        "code": 200,
        "message": "",
        "msg": "",
        "data": {"items": items, "pageNo": page, "pageSize": size, "total": total},
    }


def history_item(prediction: Prediction, outputs: Sequence[str], public_url: str) -> dict[str, Any]:
    return {
        "ID": prediction.id,
        "createdAt": prediction.created_at // 1000,
        "model": prediction.model,
        "requestBody": prediction.request_body,
        "result": prediction_data(prediction, public_url, outputs),
        "status": WIRE_STATUSES[prediction.status],
    }
