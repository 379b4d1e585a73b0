"""The log of a prediction's transitions: written with each of them, never changed."""

from sqlalchemy import Connection, bindparam, func, insert, select

from bildwerk.domain.prediction import TRANSITIONS, Status
from bildwerk.store.schema import history
from bildwerk.store.statement import Statement

LAST = select(func.coalesce(func.max(history.c.seq), 0)).where(history.c.prediction_id == bindparam("of"))
APPEND = Statement(insert(history).inline().values(seq=LAST.scalar_subquery() + 1))


def append(
    connection: Connection,
    now: int,
    prediction_id: str,
    before: Status | None,
    after: Status,
    *,
    actor: str,
    claim_no: int = 0,
    attempts: int = 0,
    detail: str = "",
) -> None:
    if (before, after) not in TRANSITIONS:
        raise AssertionError(f"{prediction_id}: there is no way from {before} to {after}")
    values = {
        "of": prediction_id,
        "prediction_id": prediction_id,
        "from_status": before,
        "to_status": after,
        "claim_no": claim_no,
        "attempts": attempts,
        "actor": actor,
        "detail": detail,
        "at": now,
    }
    APPEND.run(connection, values)
