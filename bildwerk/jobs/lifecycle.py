"""The only place that changes a prediction's status: one function, one transition, one transaction.

Each is a plain function of a `Connection`, to be run by `Database.write`. Those that finish a claim say whether the
claim was still good; when it was not, they have written nothing.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, or_, select, update

from bildwerk.domain.errors import PredictionNotFound, QueueFull
from bildwerk.domain.prediction import Claim, FailureCode, Output, Prediction, Status
from bildwerk.jobs import history, idempotency
from bildwerk.jobs.submission import QueueLimits, Submission
from bildwerk.jobs.transition import end, fetch_claimed, move, requeue, settle_failure
from bildwerk.store import ledger, predictions
from bildwerk.store.schema import outputs
from bildwerk.store.schema import predictions as table
from bildwerk.store.statement import Statement

HOUR_MS = 3_600_000

NEW_PREDICTION = Statement(insert(table))
NEW_OUTPUT = Statement(insert(outputs))
WAITED_TOO_LONG = (table.c.status == "queued") & (table.c.queue_ends_at <= bindparam("now"))
NO_LONGER_WANTED = table.c.status.in_(("queued", "running")) & (table.c.cancel_at <= bindparam("now"))
EXPIRED = select(table).where(or_(WAITED_TOO_LONG, NO_LONGER_WANTED)).with_for_update()
RUNNING = select(table).where(table.c.status == "running").with_for_update()
LEASE_OVER = RUNNING.where(table.c.lease_until <= bindparam("now"))


@dataclass(frozen=True, slots=True)
class Submitted:
    """The prediction that answers a submission, and whether an earlier request had already made it.

    `waiting` is how many others, of all accounts, were in the queue at that moment; of a replay it is not counted.
    """

    prediction_id: str
    is_replay: bool
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Made:
    """What a worker has made of a prediction: pictures whose files are durable, seconds by stage, and warnings."""

    pictures: tuple[Output, ...]
    timings: dict[str, float]
    warnings: tuple[str, ...] = ()


def submit(connection: Connection, now: int, submission: Submission, limits: QueueLimits) -> Submitted:
    """-> queued: the row, its hold and its idempotency key, or none of them.

    Raises `InsufficientBalance`, `QueueFull` or `IdempotencyMismatch`.
    """
    earlier = idempotency.find(connection, submission.account_id, submission.idempotency)
    if earlier is not None:
        return Submitted(earlier, is_replay=True)
    waiting = check_queue(connection, submission.account_id, limits)
    insert_prediction(connection, now, submission, limits)
    history.append(connection, now, submission.prediction_id, None, Status.QUEUED, actor="api")
    idempotency.remember(connection, now, submission)
    ledger.hold(
        connection,
        now,
        submission.account_id,
        prediction_id=submission.prediction_id,
        price=submission.price,
        request_id=submission.request_id,
    )
    return Submitted(submission.prediction_id, is_replay=False, waiting=waiting)


def check_queue(connection: Connection, account_id: str, limits: QueueLimits) -> int:
    """How many predictions wait. Raises `QueueFull` where no more may."""
    own, all_ = predictions.count_queued(connection, account_id)
    if own >= limits.per_account:
        raise QueueFull(f"this account has {limits.per_account} predictions waiting, the most it may have")
    if all_ >= limits.in_all:
        raise QueueFull()
    return all_


def insert_prediction(connection: Connection, now: int, submission: Submission, limits: QueueLimits) -> None:
    values = {
        "id": submission.prediction_id,
        "account_id": submission.account_id,
        "api_key_id": submission.api_key_id,
        "model": submission.model,
        "status": Status.QUEUED,
        "queue_ends_at": now + limits.ttl_ms,
        "cancel_at": submission.cancel_at,
        "price": submission.price,
        "images": submission.images,
        "batch_key": submission.batch_key,
        "input": json.dumps(submission.input),
        "request_body": submission.request_body,
        "as_base64": submission.as_base64,
        "object_hours": submission.object_hours,
        "request_hours": submission.request_hours,
        "webhook_url": submission.webhook_url,
        "warnings": json.dumps(submission.warnings),
        "created_at": now,
    }
    NEW_PREDICTION.run(connection, values)


def claim(connection: Connection, now: int, row: Row[Any], worker: str, lease_ms: int) -> Claim:
    """queued -> running. The attempt is counted now, so that a job which kills its worker has used one up."""
    claimed = Claim(row.id, row.claim_no + 1, worker)
    values = {
        "claim_no": claimed.claim_no,
        "attempts": row.attempts + 1,
        "worker": worker,
        "lease_until": now + lease_ms,
        "started_at": now,
    }
    move(connection, now, row, Status.RUNNING, actor=worker, values=values)
    return claimed


def succeed(connection: Connection, now: int, claimed: Claim, made: Made) -> Prediction | bool:
    """running -> succeeded, with the pictures, whose files are already durable, and the capture of the hold.

    Returns the prediction as it would now be read: somebody may be waiting for it. When the owner has asked to cancel
    in the meantime it is canceled instead, free of charge.
    """
    row = fetch_claimed(connection, claimed)
    if row is None:
        return False
    if row.cancel_requested:
        end(connection, now, row, Status.CANCELED, claimed.worker, code=FailureCode.CANCELED)
        return True
    for picture in made.pictures:
        NEW_OUTPUT.run(connection, output_values(row.id, picture))
    expire_at = now + row.object_hours * HOUR_MS
    values = {
        "timings": json.dumps(made.timings),
        "engine_warnings": json.dumps(made.warnings),
        "outputs_expire_at": expire_at,
    }
    end(connection, now, row, Status.SUCCEEDED, claimed.worker, values=values)
    running = predictions.read_row(row)
    return replace(
        running,
        status=Status.SUCCEEDED,
        warnings=(*running.submit_warnings, *made.warnings),
        timings=made.timings,
        finished_at=now,
        outputs_expire_at=expire_at,
        outputs=made.pictures,
    )


def retry_or_fail(connection: Connection, now: int, claimed: Claim, code: FailureCode, message: str) -> bool:
    """running -> queued while the code's policy allows another attempt, else running -> failed."""
    row = fetch_claimed(connection, claimed)
    if row is None:
        return False
    settle_failure(connection, now, row, code, message=message, actor=claimed.worker)
    return True


def give_back(connection: Connection, now: int, claimed: Claim) -> bool:
    """running -> queued without using up the attempt: the worker is leaving, the prediction did nothing wrong."""
    row = fetch_claimed(connection, claimed)
    if row is None:
        return False
    requeue(connection, now, row, pause_ms=0, attempts=row.attempts - 1, actor=claimed.worker, detail="given back")
    return True


def finish_cancel(connection: Connection, now: int, claimed: Claim) -> bool:
    """running -> canceled, once the worker has dropped it."""
    row = fetch_claimed(connection, claimed)
    if row is None:
        return False
    end(connection, now, row, Status.CANCELED, claimed.worker, code=FailureCode.CANCELED)
    return True


def cancel(connection: Connection, now: int, account_id: str, prediction_id: str) -> Status:
    """queued -> canceled, or a wish that the worker will see; nothing in a terminal status. Returns what it is now.

    Raises `PredictionNotFound` for an unknown prediction and for another account's.
    """
    row = connection.execute(
        select(table).where(table.c.id == prediction_id, table.c.account_id == account_id).with_for_update()
    ).one_or_none()
    if row is None:
        raise PredictionNotFound()
    if row.status == Status.QUEUED:
        end(connection, now, row, Status.CANCELED, "owner", code=FailureCode.CANCELED)
        return Status.CANCELED
    if row.status == Status.RUNNING:
        connection.execute(update(table).where(table.c.id == prediction_id).values(cancel_requested=True))
    return Status(row.status)


def expire(connection: Connection, now: int) -> list[str]:
    """queued or running -> expired, free, for all whose `Cancel-After` or whose time in the queue is over."""
    rows = connection.execute(EXPIRED, {"now": now}).all()
    for row in rows:
        end(connection, now, row, Status.EXPIRED, "dispatcher", code=FailureCode.EXPIRED)
    return [row.id for row in rows]


def reap(connection: Connection, now: int) -> list[str]:
    """Take back every claim whose lease is over, as if its worker had reported its own death."""
    return take_back(connection, now, connection.execute(LEASE_OVER, {"now": now}).all(), actor="reaper")


def take_back_all(connection: Connection, now: int) -> list[str]:
    """Take back every claim there is: at start, when no worker of an earlier process can be alive."""
    connection.execute(update(table).where(table.c.status == "queued").values(not_before=0))
    return take_back(connection, now, connection.execute(RUNNING).all(), actor="start")


def take_back(connection: Connection, now: int, rows: Sequence[Row[Any]], actor: str) -> list[str]:
    for row in rows:
        settle_failure(connection, now, row, FailureCode.WORKER_LOST, message="the worker was lost", actor=actor)
    return [row.id for row in rows]


def output_values(prediction_id: str, picture: Output) -> dict[str, Any]:
    return {
        "prediction_id": prediction_id,
        "idx": picture.index,
        "claim_no": picture.claim_no,
        "object_key": picture.object_key,
        "sha256": picture.sha256,
        "bytes": picture.byte_count,
        "media_type": picture.media_type,
        "width": picture.width,
        "height": picture.height,
        "seed": picture.seed,
    }
