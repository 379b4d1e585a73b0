"""How a status changes: the row, its history and, at the end, its event and its money, all in the caller's transaction.

Only `lifecycle` uses this; the heartbeat asks `fetch_claimed` the same question.
"""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from bildwerk.domain.prediction import TERMINAL, Claim, FailureCode, Status
from bildwerk.jobs import history
from bildwerk.jobs.retry import POLICIES
from bildwerk.store import ledger
from bildwerk.store.schema import events
from bildwerk.store.schema import predictions as table
from bildwerk.store.statement import Statement

ERROR_TEXTS = {
    FailureCode.OUT_OF_MEMORY: "the worker ran out of memory",
    FailureCode.WORKER_LOST: "the worker was lost",
    FailureCode.RUN_TIMEOUT: "the worker made no progress and was ended",
    FailureCode.ENGINE_ERROR: "the engine failed",
    FailureCode.STORAGE_ERROR: "the pictures could not be stored",
    FailureCode.CANCELED: "canceled",
    FailureCode.EXPIRED: "expired before it was finished",
}
"""What an owner is told. What the machinery itself said may name its insides and stays in the history."""


CLAIMED = Statement(
    select(table)
    .where(
        table.c.id == bindparam("prediction_id"),
        table.c.status == "running",
        table.c.claim_no == bindparam("number"),
        table.c.worker == bindparam("by"),
    )
    .with_for_update()
)
CHANGE = Statement(update(table).where(table.c.id == bindparam("prediction_id")))
NEW_EVENT = Statement(insert(events))


def fetch_claimed(connection: Connection, claimed: Claim) -> Row[Any] | None:
    """The row if the claim still holds it: running, under this number, by this worker. This is the fence."""
    values = {"prediction_id": claimed.prediction_id, "number": claimed.claim_no, "by": claimed.worker}
    return CLAIMED.row(connection, values)


def settle_failure(
    connection: Connection, now: int, row: Row[Any], code: FailureCode, *, message: str, actor: str
) -> None:
    """What becomes of a running row whose attempt has come to nothing."""
    pause = POLICIES[code].pause_after(row.attempts)
    if row.cancel_requested:
        end(connection, now, row, Status.CANCELED, actor, code=FailureCode.CANCELED)
    elif pause is None:
        end(connection, now, row, Status.FAILED, actor, code=code, message=message)
    else:
        requeue(connection, now, row, pause_ms=pause, attempts=row.attempts, actor=actor, detail=f"{code}: {message}")


def requeue(
    connection: Connection, now: int, row: Row[Any], *, pause_ms: int, attempts: int, actor: str, detail: str
) -> None:
    """running -> queued, not to be claimed again before `pause_ms` have passed."""
    values = {"worker": None, "lease_until": None, "not_before": now + pause_ms, "attempts": attempts}
    move(connection, now, row, Status.QUEUED, actor=actor, values=values, detail=detail)


def end(
    connection: Connection,
    now: int,
    row: Row[Any],
    to: Status,
    actor: str,
    *,
    code: FailureCode | None = None,
    message: str = "",
    values: dict[str, Any] | None = None,
) -> None:
    """Into a terminal status: the row, its history, its event, and its money, which is captured or goes back."""
    text = ERROR_TEXTS.get(code, message) if code else ""
    ending = {"worker": None, "lease_until": None, "finished_at": now, "error_code": code, "error": text}
    move(
        connection,
        now,
        row,
        to,
        actor=actor,
        values={**ending, **(values or {})},
        detail=f"{code or ''}: {message}".strip(": "),
    )
    settle = ledger.capture if to is Status.SUCCEEDED else ledger.release
    settle(connection, now, row.account_id, prediction_id=row.id, claim_no=row.claim_no, price=row.price)
    NEW_EVENT.run(connection, {"id": f"evt_{row.id}", "prediction_id": row.id, "kind": to, "created_at": now})


def move(
    connection: Connection,
    now: int,
    row: Row[Any],
    to: Status,
    *,
    actor: str,
    values: dict[str, Any],
    detail: str = "",
) -> None:
    """The row as it was read, and no other, takes the status `to`; its history says so."""
    if row.status in TERMINAL:
        raise AssertionError(f"{row.id} is {row.status}, which is the end of it")
    CHANGE.run(connection, {"prediction_id": row.id, "status": to, **values})
    history.append(
        connection,
        now,
        row.id,
        Status(row.status),
        to,
        actor=actor,
        claim_no=values.get("claim_no", row.claim_no),
        attempts=values.get("attempts", row.attempts),
        detail=detail,
    )
